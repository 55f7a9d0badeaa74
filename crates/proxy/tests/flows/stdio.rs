use std::os::fd::AsFd;
use std::time::Duration;

use countermark_proxy::guard::{GuardConfig, StdioServer, Upstream};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::support::*;

fn server(era: &str) -> StdioServer {
    let path = fixture("fixture.py").display().to_string();
    let mut server = StdioServer::new("python3".into(), vec!["-u".to_owned(), path, era.to_owned()]);
    // The test machine's own PATH: the child's environment is empty otherwise.
    #[expect(clippy::disallowed_methods, reason = "where python3 is, is the machine's business")]
    server.env.push(("PATH".to_owned(), std::env::var("PATH").unwrap()));
    server
}

fn config(estate: &Estate, server: StdioServer) -> GuardConfig {
    estate.config(Upstream::Stdio(server))
}

fn said(answer: &Answer, id: impl Into<Value>) -> String {
    let answer = answer.answer(&id.into());
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

fn tool(name: &str, arguments: Value) -> Value {
    json!({"name": name, "arguments": arguments})
}

#[tokio::test]
async fn a_session_of_the_older_era_has_a_process_of_its_own() {
    let estate = Estate::new();
    let guard = estate.serve(config(&estate, server("legacy"))).await;
    let (mut first, mut second) = (estate.client("billing-bot"), estate.client("billing-bot"));
    let answer = first.initialize(&guard.url).await;
    assert_eq!(answer.json()["id"], "init");
    assert_eq!(answer.json()["result"]["serverInfo"]["name"], "fixture");
    second.initialize(&guard.url).await;
    let pid = async |caller: &Caller| -> Value {
        let answer = caller.legacy(&guard.url, call(1, "environment", json!({}))).await;
        serde_json::from_str::<Value>(&said(&answer, 1)).unwrap()["pid"].clone()
    };
    assert_ne!(pid(&first).await, pid(&second).await);
    assert_eq!(pid(&first).await, pid(&first).await);
    let ended = first.send(&guard.url, Method::DELETE, &[("mcp-protocol-version", "2025-11-25")], String::new()).await;
    assert!(ended.status.is_success());
    assert_eq!(first.legacy(&guard.url, call(1, "echo", json!({"text": "x"}))).await.status, StatusCode::NOT_FOUND);
    until(async || get(guard.admin, "/metrics").await.1.contains("countermark_guard_processes 1\n")).await;
}

#[tokio::test]
async fn two_connections_with_the_same_id_never_swap_answers() {
    let estate = Estate::new();
    let guard = estate.serve(config(&estate, server("legacy"))).await;
    let mut opener = estate.client("billing-bot");
    opener.initialize(&guard.url).await;
    let calls = (0..20).map(|n| {
        let mut caller = estate.client("billing-bot");
        caller.session = opener.session.clone();
        let url = guard.url.clone();
        async move {
            let arguments = json!({"text": format!("mine-{n}"), "after": f64::from((n * 7) % 5) / 50.0});
            (n, said(&caller.legacy(&url, call(1, "echo", arguments)).await, 1))
        }
    });
    for (n, text) in futures_util::future::join_all(calls).await {
        assert_eq!(text, format!("mine-{n}"));
    }
}

#[tokio::test]
async fn stateless_connections_with_the_same_id_never_swap_answers() {
    for era in ["modern", "legacy"] {
        let estate = Estate::new();
        let guard = estate.serve(config(&estate, server(era))).await;
        let calls = (0..20).map(|n| {
            let (caller, url) = (estate.client("billing-bot"), guard.url.clone());
            async move {
                let arguments = json!({"text": format!("mine-{n}"), "after": f64::from((n * 7) % 5) / 50.0});
                (n, said(&caller.modern(&url, "tools/call", tool("echo", arguments)).await, 1))
            }
        });
        for (n, text) in futures_util::future::join_all(calls).await {
            assert_eq!(text, format!("mine-{n}"), "{era}");
        }
    }
}

#[tokio::test]
async fn what_a_child_started_ends_with_it() {
    let estate = Estate::new();
    let guard = estate.serve(config(&estate, server("legacy"))).await;
    let mut caller = estate.client("billing-bot");
    caller.initialize(&guard.url).await;
    let pid = said(&caller.legacy(&guard.url, call(1, "spawn", json!({}))).await, 1);
    let runs = || std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"));
    assert!(runs());
    caller.send(&guard.url, Method::DELETE, &[("mcp-protocol-version", "2025-11-25")], String::new()).await;
    until(async || !runs()).await;
}

#[tokio::test]
async fn progress_comes_back_under_the_clients_own_token() {
    let estate = Estate::new();
    let guard = estate.serve(config(&estate, server("legacy"))).await;
    let mut caller = estate.client("billing-bot");
    caller.initialize(&guard.url).await;
    let mut message = call("p", "progress", json!({"text": "done"}));
    message["params"]["_meta"] = json!({"progressToken": "mine"});
    let answer = caller.legacy(&guard.url, message).await;
    let events = answer.events();
    assert_eq!(events.len(), 4, "{}", answer.text);
    assert!(events[..3].iter().all(|event| event["params"]["progressToken"] == "mine"));
    assert_eq!(said(&answer, "p"), "done");
}

#[tokio::test]
async fn the_server_asks_the_client_on_the_requests_stream() {
    let estate = Estate::new();
    let guard = estate.serve(config(&estate, server("legacy"))).await;
    let mut caller = estate.client("billing-bot");
    caller.initialize(&guard.url).await;
    let headers = [("content-type", "application/json"), ("accept", ACCEPT), ("mcp-protocol-version", "2025-11-25")];
    let mut body =
        caller.open(&guard.url, Method::POST, &headers, call(1, "ask", json!({})).to_string()).await.into_body();
    let mut text = String::new();
    while !text.contains("sampling/createMessage") {
        text.push_str(std::str::from_utf8(body.frame().await.unwrap().unwrap().data_ref().unwrap()).unwrap());
    }
    let answer = json!({"jsonrpc": "2.0", "id": "q1", "result": {"answer": 42}});
    assert_eq!(caller.legacy(&guard.url, answer).await.status, StatusCode::ACCEPTED);
    let rest = body.collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&rest).contains("42"), "{rest:?}");
}

#[tokio::test]
async fn what_is_said_unasked_goes_to_the_get_stream() {
    let estate = Estate::new();
    let guard = estate.serve(config(&estate, server("legacy"))).await;
    let mut caller = estate.client("billing-bot");
    caller.initialize(&guard.url).await;
    let headers = [("accept", "text/event-stream"), ("mcp-protocol-version", "2025-11-25")];
    let mut stream = caller.open(&guard.url, Method::GET, &headers, String::new()).await.into_body();
    stream.frame().await.unwrap().unwrap();
    caller.legacy(&guard.url, call(1, "changed", json!({}))).await;
    let frame = tokio::time::timeout(Duration::from_secs(5), stream.frame()).await.unwrap().unwrap().unwrap();
    assert!(String::from_utf8_lossy(frame.data_ref().unwrap()).contains("notifications/tools/list_changed"));
}

#[tokio::test]
async fn a_client_of_the_older_era_cancels_by_its_own_id() {
    let estate = Estate::new();
    let guard = estate.serve(config(&estate, server("legacy"))).await;
    let mut caller = estate.client("billing-bot");
    caller.initialize(&guard.url).await;
    let mark = estate.path("mark");
    let (running, url) = (caller.clone(), guard.url.clone());
    let message = call("c", "cancellable", json!({"mark": mark}));
    let task = tokio::spawn(async move { running.legacy(&url, message).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "c"}});
    assert_eq!(caller.legacy(&guard.url, cancel).await.status, StatusCode::ACCEPTED);
    until(async || mark.exists()).await;
    task.abort();
}

#[tokio::test]
async fn stateless_clients_use_servers_of_either_era() {
    for era in ["modern", "legacy", "strict"] {
        let estate = Estate::new();
        let guard = estate.serve(config(&estate, server(era))).await;
        let caller = estate.client("billing-bot");
        let discovered = caller.modern(&guard.url, "server/discover", json!({})).await;
        assert_eq!(
            discovered.json()["result"]["supportedVersions"],
            json!(["2026-07-28"]),
            "{era}: {}",
            discovered.text
        );
        let list = caller.modern(&guard.url, "tools/list", json!({})).await.json();
        assert_eq!(list["result"]["tools"].as_array().unwrap().len(), 2, "{era}: {list}");
        assert_eq!(list["result"]["cacheScope"], "private", "{era}: {list}");
        let answer = caller.modern(&guard.url, "tools/call", tool("echo", json!({"text": "hi"}))).await;
        assert_eq!(said(&answer, 1), "hi", "{era}");
        let meta = caller.modern(&guard.url, "tools/call", tool("meta", json!({}))).await;
        assert_eq!(said(&meta, 1).contains("protocolVersion"), era == "modern", "{era}: {}", meta.text);
        let unknown = caller.modern(&guard.url, "tools/call", tool("nothing", json!({}))).await;
        assert_eq!(unknown.json()["error"]["code"], -32602, "{era}");
    }
}

#[tokio::test]
async fn agents_of_the_stateless_era_never_share_a_process() {
    let estate = Estate::new();
    estate.write_policy(&POLICY.replace("read_*", "*"));
    let guard = estate.serve(config(&estate, server("legacy"))).await;
    let pid = async |agent: &str| -> Value {
        let answer = estate.client(agent).modern(&guard.url, "tools/call", tool("environment", json!({}))).await;
        serde_json::from_str::<Value>(&said(&answer, 1)).unwrap()["pid"].clone()
    };
    assert_eq!(pid("billing-bot").await, pid("billing-bot").await);
    assert_ne!(pid("billing-bot").await, pid("intern-bot").await);
}

#[tokio::test]
async fn a_subscription_hears_what_an_older_server_says_unasked() {
    let estate = Estate::new();
    let guard = estate.serve(config(&estate, server("legacy"))).await;
    let caller = estate.client("billing-bot");
    let (headers, body) = modern("sub", "subscriptions/listen", json!({"notifications": {"toolsListChanged": true}}));
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut stream = caller.open(&guard.url, Method::POST, &headers, body).await.into_body();
    let mut text = String::new();
    while !text.contains("acknowledged") {
        text.push_str(std::str::from_utf8(stream.frame().await.unwrap().unwrap().data_ref().unwrap()).unwrap());
    }
    caller.modern(&guard.url, "tools/call", tool("changed", json!({}))).await;
    while !text.contains("list_changed") {
        let frame = tokio::time::timeout(Duration::from_secs(5), stream.frame()).await.unwrap();
        text.push_str(std::str::from_utf8(frame.unwrap().unwrap().data_ref().unwrap()).unwrap());
    }
    assert_eq!(text.matches("\"io.modelcontextprotocol/subscriptionId\":\"sub\"").count(), 2, "{text}");
}

#[tokio::test]
async fn a_stateless_client_cancels_by_closing_its_stream() {
    let estate = Estate::new();
    let guard = estate.serve(config(&estate, server("modern"))).await;
    let caller = estate.client("billing-bot");
    let mark = estate.path("mark");
    caller.modern(&guard.url, "tools/list", json!({})).await;
    let (headers, body) = modern(1, "tools/call", tool("cancellable", json!({"mark": mark})));
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let open = caller.open(&guard.url, Method::POST, &headers, body);
    let _ = tokio::time::timeout(Duration::from_millis(300), open).await;
    until(async || mark.exists()).await;
}

#[tokio::test]
async fn a_child_gets_an_empty_environment_three_descriptors_and_its_own_group() {
    let estate = Estate::new();
    // A descriptor without close-on-exec, as a careless parent leaves it.
    let leaked = std::fs::File::open("/dev/null").unwrap();
    rustix::io::fcntl_setfd(leaked.as_fd(), rustix::io::FdFlags::empty()).unwrap();
    let mut server = server("legacy");
    server.env.push(("LEDGER".to_owned(), "1".to_owned()));
    server.limits.memory = Some(1 << 30);
    let guard = estate.serve(config(&estate, server)).await;
    let answer = estate.client("billing-bot").modern(&guard.url, "tools/call", tool("environment", json!({}))).await;
    let facts: Value = serde_json::from_str(&said(&answer, 1)).unwrap();
    // A python3 that is a wrapper script adds some of its own; what this process has is not there.
    assert_eq!(facts["env"]["LEDGER"], "1");
    for name in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "HOME", "USER"] {
        assert!(facts["env"].get(name).is_none(), "{name}: {facts}");
    }
    // Its three, and the one by which it lists them.
    assert!(facts["fds"].as_array().unwrap().len() <= 4, "{facts}");
    assert_eq!(facts["pid"], facts["pgid"]);
    assert_eq!(facts["as"], 1_u64 << 30);
}

#[tokio::test]
async fn a_child_runs_as_the_user_that_was_named() {
    if !rustix::process::geteuid().is_root() {
        return skip("needs root to be somebody else");
    }
    let estate = Estate::new();
    let mut server = server("legacy");
    let script = std::path::Path::new("/tmp").join(format!("countermark-fixture-{}.py", std::process::id()));
    std::fs::copy(fixture("fixture.py"), &script).unwrap();
    server.command = "/usr/bin/python3".into();
    server.args[1] = script.display().to_string();
    server.user = Some("65534:65534".to_owned());
    if !server.command.exists() {
        return skip("/usr/bin/python3 is not installed");
    }
    let guard = estate.serve(config(&estate, server)).await;
    let answer = estate.client("billing-bot").modern(&guard.url, "tools/call", tool("environment", json!({}))).await;
    std::fs::remove_file(script).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&said(&answer, 1)).unwrap()["uid"], 65534);
}

#[tokio::test]
async fn processes_are_counted_by_agent_and_in_all() {
    let estate = Estate::new();
    let mut server = server("legacy");
    server.limits.processes_per_agent = 1;
    server.limits.processes = 2;
    let guard = estate.serve(config(&estate, server)).await;
    let open = async |agent: &str| {
        let mut caller = estate.client(agent);
        (caller.initialize(&guard.url).await.status, caller)
    };
    let (status, first) = open("billing-bot").await;
    assert_eq!(status, StatusCode::OK);
    // In use, so that it is not the one that makes room.
    let headers = [("accept", "text/event-stream"), ("mcp-protocol-version", "2025-11-25")];
    let mut stream = first.open(&guard.url, Method::GET, &headers, String::new()).await.into_body();
    stream.frame().await.unwrap().unwrap();
    assert_eq!(open("billing-bot").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(open("intern-bot").await.0, StatusCode::OK);
    assert_eq!(open("connect-bot").await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn idle_and_old_processes_end() {
    for old in [false, true] {
        let estate = Estate::new();
        let mut server = server("legacy");
        if old {
            server.limits.wall = Some(Duration::from_millis(600));
        } else {
            server.limits.idle = Duration::from_millis(600);
        }
        let guard = estate.serve(config(&estate, server)).await;
        let mut caller = estate.client("billing-bot");
        caller.initialize(&guard.url).await;
        assert!(get(guard.admin, "/metrics").await.1.contains("countermark_guard_processes 1\n"));
        until(async || get(guard.admin, "/metrics").await.1.contains("countermark_guard_processes 0\n")).await;
        assert_eq!(
            caller.legacy(&guard.url, call(1, "echo", json!({"text": "x"}))).await.status,
            StatusCode::NOT_FOUND
        );
    }
}

#[tokio::test]
async fn a_crash_is_502_and_the_next_start_waits() {
    let estate = Estate::new();
    let guard = estate.serve(config(&estate, server("modern"))).await;
    let caller = estate.client("billing-bot");
    let crashed = caller.modern(&guard.url, "tools/call", tool("crash", json!({}))).await;
    assert_eq!(crashed.status, StatusCode::BAD_GATEWAY, "{}", crashed.text);
    until(async || get(guard.admin, "/metrics").await.1.contains("countermark_guard_processes 0\n")).await;
    let waiting = caller.modern(&guard.url, "tools/list", json!({})).await;
    assert_eq!(waiting.status, StatusCode::SERVICE_UNAVAILABLE, "{}", waiting.text);
    assert!(waiting.headers.contains_key("retry-after"));
    until(async || caller.modern(&guard.url, "tools/list", json!({})).await.status == StatusCode::OK).await;
}

#[tokio::test]
async fn noise_and_endless_lines_harm_nobody_else() {
    let estate = Estate::new();
    let mut server = server("modern");
    server.limits.line = 64 * 1024;
    let guard = estate.serve(config(&estate, server)).await;
    let caller = estate.client("billing-bot");
    assert_eq!(said(&caller.modern(&guard.url, "tools/call", tool("garbage", json!({}))).await, 1), "after");
    let flooded = caller.modern(&guard.url, "tools/call", tool("flood", json!({}))).await;
    assert_eq!(flooded.status, StatusCode::BAD_GATEWAY, "{}", flooded.text);
}

#[tokio::test]
async fn a_program_that_is_not_there_is_502() {
    let estate = Estate::new();
    let guard = estate.serve(config(&estate, StdioServer::new("/nonexistent/program".into(), Vec::new()))).await;
    let answer = estate.client("billing-bot").modern(&guard.url, "tools/list", json!({})).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert!(!answer.text.contains("nonexistent"), "{}", answer.text);
}

#[tokio::test]
async fn no_process_outlives_guard_though_it_hears_neither_the_end_of_its_input_nor_sigterm() {
    let estate = Estate::new();
    let mut server = server("legacy");
    server.env.push(("DEAF".to_owned(), "1".to_owned()));
    let guard = estate.serve(config(&estate, server)).await;
    let mut caller = estate.client("billing-bot");
    caller.initialize(&guard.url).await;
    let answer = caller.legacy(&guard.url, call(1, "environment", json!({}))).await;
    let facts: Value = serde_json::from_str(&said(&answer, 1)).unwrap();
    let child = std::path::PathBuf::from(format!("/proc/{}", facts["pid"]));
    assert!(child.exists());
    guard.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(15), guard.task).await.unwrap().unwrap();
    assert!(!child.exists(), "it was ended and reaped before guard said that it has drained");
}
