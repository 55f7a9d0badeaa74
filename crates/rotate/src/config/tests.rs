use super::*;

const HEAD: &str = "version = 1\n[[issuer]]\nname = \"ca\"\nkind = \"directory\"\npath = \"ca\"\n[[issuer]]\nname = \"net\"\nkind = \"authority\"\nurl = \"https://ca.internal:8443/\"\n";
const BOT: &str = "[[credential]]\nname = \"bot\"\nidentity = \"spiffe://agents.internal/agent/bot\"\nissuer = \"ca\"\ndirectory = \"id/bot\"\n";

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/etc/countermark/rotate.toml"))
}

#[track_caller]
fn refused(text: &str, place: &str, words: &str) {
    let error = parse(text).unwrap_err().to_string();
    assert!(error.starts_with(&format!("/etc/countermark/rotate.toml:{place}: ")), "{error}");
    assert!(error.contains(words), "{error}");
}

#[test]
fn the_least_that_can_be_written() {
    let config = parse(&format!("{HEAD}{BOT}")).unwrap();
    let bot = &config.credentials[0];
    assert_eq!(config.socket, None);
    assert_eq!(config.socket_beside, Path::new("/etc/countermark/rotate.sock"));
    assert_eq!(config.concurrency, 16);
    assert_eq!(bot.directory, Path::new("/etc/countermark/id/bot"));
    assert_eq!((bot.access, bot.key, bot.reuse_key), (Access::default(), KeyKind::P256, false));
    assert!(bot.hooks.is_empty() && bot.probe.is_none() && bot.sinks == Sinks::default());
}

#[test]
fn all_that_can_be_written() {
    let more = r#"ttl = "2h"
dns = ["ledger.internal"]
ip = ["10.0.0.1"]
owner = "0:0"
mode = "0640"
key = "p384"
reuse-key = true
combined = true
projected = "/run/volume"
secret = { path = "secret.json", name = "ledger", namespace = "crm" }
probe = { address = "[::1]:8443", server-name = "ledger.internal", timeout = "2s", repeat-hooks = false }
[[credential.hook]]
run = ["nginx", "-s", "reload"]
env = { LANG = "C" }
timeout = "10s"
[[credential.hook]]
signal = "SIGHUP"
pid-file = "/run/x.pid"
[[credential.hook]]
signal = "USR1"
unit = "haproxy@a.service"
[[credential.hook]]
request = "http://[::1]:9000/reload"
method = "PUT"
[[credential.hook]]
touch = "stamp"
"#;
    let server = BOT.replace("/agent/bot", "/server/ledger");
    let config = parse(&format!("{HEAD}{server}{more}")).unwrap();
    let ledger = &config.credentials[0];
    assert_eq!(ledger.access, Access::new(Some(0), Some(0), 0o640).unwrap());
    assert_eq!(ledger.ttl, Some(Duration::from_secs(7200)));
    assert_eq!(ledger.hooks.len(), 7, "two further places, then five hooks");
    assert!(matches!(ledger.hooks[0].kind, HookKind::Projected { .. }));
    assert!(matches!(&ledger.hooks[1].kind, HookKind::Secret(secret) if secret.namespace.as_deref() == Some("crm")));
    assert_eq!(ledger.hooks[2].timeout, Duration::from_secs(10));
    assert!(matches!(ledger.hooks[3].kind, HookKind::SignalPid { signal: SignalName::Hup, .. }));
    assert!(matches!(&ledger.hooks[4].kind, HookKind::SignalUnit { unit, .. } if unit == "haproxy@a.service"));
    assert_eq!(ledger.probe.as_ref().unwrap().timeout, Duration::from_secs(2));
    assert!(!ledger.probe.as_ref().unwrap().repeat_hooks);
    let plain = format!("{HEAD}{BOT}probe = {{ address = \"127.0.0.1:8443\" }}\n");
    assert!(parse(&plain).unwrap().credentials[0].probe.as_ref().unwrap().repeat_hooks, "unless somebody says so");
}

#[test]
fn what_others_depend_on_comes_first() {
    let entry = |name: &str, after: &str| {
        BOT.replace("\"bot\"", &format!("\"{name}\"")).replace("id/bot", &format!("id/{name}")) + after
    };
    let text = [
        HEAD.to_owned(),
        entry("top", "after = [\"middle\", \"base\"]\n"),
        entry("middle", "after = [\"base\"]\n"),
        entry("base", ""),
    ];
    let config = parse(&text.concat()).unwrap();
    let order: Vec<_> = config.credentials.iter().map(|entry| (&*entry.name, entry.rank)).collect();
    assert_eq!(order, [("base", 0), ("middle", 1), ("top", 2)]);
    let after: Vec<_> = config.credentials.iter().map(|entry| entry.after.len()).collect();
    assert_eq!(after, [0, 1, 2]);
    let circle = [HEAD.to_owned(), entry("a", "after = [\"b\"]\n"), entry("b", "after = [\"a\"]\n")].concat();
    assert!(matches!(parse(&circle), Err(ConfigError::Fault { fault: Fault::Circle { .. }, .. })));
    let itself = [HEAD.to_owned(), entry("a", "after = [\"a\"]\n")].concat();
    assert!(matches!(parse(&itself), Err(ConfigError::Fault { fault: Fault::Circle { .. }, .. })));
    refused(&[HEAD.to_owned(), entry("a", "after = [\"nobody\"]\n")].concat(), "15:10", "no credential `nobody`");
}

#[test]
fn every_fault_has_its_line_and_column() {
    for (more, place, words) in [
        ("modus = 1\n", "15:1", "unknown field `modus`"),
        ("mode = \"0644\"\n", "15:8", "0644"),
        ("mode = \"rw\"\n", "15:8", "`rw` is no mode"),
        ("owner = \"no-such-user\"\n", "15:9", "no user `no-such-user`"),
        ("ttl = \"soon\"\n", "15:7", "`soon` is no time"),
        ("key = \"dsa\"\n", "15:7", "`dsa` is no kind of key"),
        ("ip = [\"nowhere\"]\n", "15:7", "`nowhere` is no address"),
        ("probe = { address = \"8443\" }\n", "15:21", "`8443` is no address"),
        ("secret = { path = \"x\", name = \"No\" }\n", "15:31", "Kubernetes"),
        ("[[credential.hook]]\nrun = []\n", "16:7", "exactly one thing"),
        ("[[credential.hook]]\nrun = [\"x\"]\ntouch = \"y\"\n", "15:1", "exactly one thing"),
        ("[[credential.hook]]\nsignal = \"HUP\"\n", "15:1", "exactly one thing"),
        ("[[credential.hook]]\ntouch = \"y\"\npid-file = \"x\"\n", "15:1", "exactly one thing"),
        ("[[credential.hook]]\nsignal = \"KILL\"\npid-file = \"x\"\n", "16:10", "`KILL` is no signal"),
        ("[[credential.hook]]\nsignal = \"HUP\"\nunit = \"--all\"\n", "17:8", "`--all` is no unit"),
        ("[[credential.hook]]\nrequest = \"http://10.0.0.1/\"\n", "16:11", "no URL of this machine"),
        ("[[credential.hook]]\nrequest = \"http://127.0.0.1@evil/\"\n", "16:11", "no URL of this machine"),
        ("[[credential.hook]]\ntouch = \"x\"\ntimeout = \"0s\"\n", "17:11", "`0s` is no time"),
        ("[[credential.hook]]\ntouch = \"x\"\non = \"trust\"\n", "17:6", "`trust` is no occasion"),
    ] {
        refused(&format!("{HEAD}{BOT}{more}"), place, words);
    }
}

#[test]
fn what_cannot_be_meant_is_refused() {
    refused("version = 2\n", "1:11", "version 2");
    refused("version = 1\n", "1:1", "no `[[credential]]`");
    refused("version = 1\nversion = 1\n", "2:1", "duplicate key");
    refused(&format!("{HEAD}{}", BOT.replace("issuer = \"ca\"", "issuer = \"no\"")), "13:10", "no issuer `no`");
    refused(&format!("{HEAD}{}", BOT.replace("/agent/bot", "/admin/bot")), "12:12", "neither");
    refused(&format!("{HEAD}{}", BOT.replace("spiffe://", "http://")), "12:12", "no identity");
    let nameless: String =
        BOT.lines().filter(|line| !line.starts_with("identity")).map(|line| format!("{line}\n")).collect();
    refused(&format!("{HEAD}{nameless}dns = [\"etl.corp.internal\"]\n"), "11:8", "a `trust-domain`");
    refused(&format!("{HEAD}{BOT}{BOT}"), "16:8", "`bot` stands twice");
    refused(&format!("{HEAD}{BOT}{}", BOT.replace("\"bot\"", "\"tob\"")), "19:13", "stands twice");
    refused(&format!("{}{BOT}", HEAD.replace("https://", "http://")), "6:1", "no https URL");
    refused(&format!("{}{BOT}", HEAD.replace("\"net\"", "\"ca\"")), "6:1", "`ca` stands twice");
    let net = BOT.replace("issuer = \"ca\"", "issuer = \"net\"");
    refused(&format!("{HEAD}{net}ttl = \"1h\"\n"), "15:7", "`ttl` has no meaning here");
    refused(&format!("{HEAD}{net}dns = [\"x\"]\n"), "15:8", "`dns` has no meaning here");
    let est = "[[issuer]]\nname = \"est\"\nkind = \"est\"\nurl = \"https://x\"\nrevocation = \"none\"\n";
    refused(&format!("{HEAD}{est}{BOT}"), "10:1", "danger_none");
    refused(&format!("concurrency = 0\n{HEAD}{BOT}"), "1:15", "1 to 1024");
}

#[test]
fn nothing_is_delivered_over_what_another_credential_delivers() {
    let tob = BOT.replace("\"bot\"", "\"tob\"").replace("id/bot", "id/tob");
    let two = |one: &str, other: &str| format!("{HEAD}{BOT}{one}\n{tob}{other}\n");
    let projected = "projected = \"volume\"";
    refused(&two(projected, "projected = \"./volume/\""), "21:13", "volume/` stands twice");
    refused(&two(projected, "projected = \"id/bot\""), "21:13", "id/bot` stands twice");
    let secret = |path: &str| format!("secret = {{ path = \"{path}\", name = \"bot\" }}");
    refused(&two(&secret("x.json"), &secret("x.json")), "21:19", "x.json` stands twice");
    assert!(parse(&two(&secret("x.json"), &secret("y.json"))).is_ok());
    assert!(parse(&two(projected, "projected = \"volumes\"")).is_ok());
}

const EST: &str = "[[issuer]]\nname = \"est\"\nkind = \"est\"\nurl = \"https://est.corp\"\n";
const ETL: &str = "[[credential]]\nname = \"etl\"\nissuer = \"est\"\ndirectory = \"id/etl\"\n";

#[test]
fn names_alone_are_named_to_an_est_server() {
    let more = "trust-domain = \"agents.internal\"\ndns = [\"ETL.corp\", \"*.etl.corp\"]\nip = [\"10.0.0.1\"]\n\
                email = [\"etl@corp\"]\nuri = [\"urn:etl\"]\n";
    let config = parse(&format!("{HEAD}{EST}{ETL}{more}")).unwrap();
    let etl = &config.credentials[0];
    assert_eq!(etl.identity.trust_domain().as_str(), "agents.internal");
    assert_eq!(etl.identity.to_string(), "dns:*.etl.corp dns:etl.corp email:etl@corp ip:10.0.0.1 uri:urn:etl");
    assert!(etl.dns.is_empty() && etl.ip.is_empty(), "they are its names, not more of them");
    let IssuerKind::Est { server, .. } = &etl.issuer.kind else { panic!("{etl:?}") };
    assert_eq!(*server, EstServer::Spiffe { server: None, revocation: Revocation::Required });
}

#[test]
fn a_server_of_strangers_is_known_by_roots_and_nobody_asks_whether_it_is_revoked() {
    let own = "trust-domain = \"agents.internal\"\ndns = [\"etl.corp\"]\n";
    let with = |issuer: &str| format!("{HEAD}{EST}{issuer}{ETL}{own}");
    let config = parse(&with("roots = \"web.pem\"\nrevocation = \"danger_none\"\n")).unwrap();
    let IssuerKind::Est { server, .. } = &config.credentials[0].issuer.kind else { panic!("{config:?}") };
    assert_eq!(*server, EstServer::Host { roots: "/etc/countermark/web.pem".into() });
    let server = "server = \"spiffe://agents.internal/server/est\"\n";
    for (issuer, words) in [
        ("roots = \"web.pem\"\n", "revocation = \"danger_none\""),
        ("roots = \"web.pem\"\nrevocation = \"required\"\n", "revocation = \"danger_none\""),
        (&format!("roots = \"web.pem\"\nrevocation = \"danger_none\"\n{server}"), "exclude each other"),
        (&format!("roots = \"web.pem\"\n{server}"), "exclude each other"),
    ] {
        refused(&with(issuer), "10:1", words);
    }
    let authority = HEAD.to_owned() + "roots = \"web.pem\"\n" + BOT;
    refused(&authority, "2:1", "unknown field `roots`");
}

#[test]
fn names_that_cannot_be_meant_are_refused_where_they_stand() {
    let domain = "trust-domain = \"agents.internal\"\n";
    for (more, place, words) in [
        ("", "15:8", "a credential needs an `identity`"),
        ("dns = [\"etl.corp\"]\n", "15:8", "a `trust-domain`"),
        (domain, "18:16", "at least one of"),
        ("trust-domain = \"Agents\"\ndns = [\"etl.corp\"]\n", "18:16", "`Agents` is no trust domain"),
        (&format!("{domain}identity = \"spiffe://agents.internal/agent/etl\"\n"), "18:16", "not both"),
        (&format!("{domain}dns = [\"a b\"]\n"), "19:8", "`a b` is no name of its kind"),
        (&format!("{domain}dns = [\"a\", \"etl..corp\"]\n"), "19:13", "`etl..corp` is no name"),
        (&format!("{domain}dns = [\"a\", \"A\"]\n"), "19:13", "the name `dns:a` stands twice"),
        (&format!("{domain}ip = [\"nowhere\"]\n"), "19:7", "`nowhere` is no address"),
        (&format!("{domain}email = [\"etl\"]\n"), "19:10", "`etl` is no name of its kind"),
        (&format!("{domain}uri = [\"etl\"]\n"), "19:8", "`etl` is no name of its kind"),
        (&format!("{domain}uri = [\"urn:a\", \"urn:b\"]\n"), "19:17", "one URI at most"),
        (&format!("{domain}uri = [\"Spiffe://agents.internal/x\"]\n"), "19:8", "write it as `identity`"),
        (&format!("{domain}dns = [\"a\"]\nttl = \"1h\"\n"), "20:7", "`ttl` has no meaning here"),
        ("identity = \"spiffe://agents.internal/agent/etl\"\nemail = [\"a@b\"]\n", "19:10", "no `identity`"),
        ("identity = \"spiffe://agents.internal/agent/etl\"\nuri = [\"urn:a\"]\n", "19:8", "no `identity`"),
        ("identity = \"spiffe://agents.internal/agent/etl\"\ndns = [\"a\"]\n", "19:8", "`dns` has no meaning"),
    ] {
        refused(&format!("{HEAD}{EST}{ETL}{more}"), place, words);
    }
    for issuer in ["ca", "net"] {
        let etl = ETL.replace("\"est\"", &format!("\"{issuer}\""));
        refused(&format!("{HEAD}{etl}{domain}dns = [\"a\"]\n"), "14:16", "X509-SVIDs alone");
    }
}
