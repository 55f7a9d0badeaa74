use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::config::Config;

struct Bench {
    place: TempDir,
    attempts: Attempts,
}

impl Bench {
    fn new() -> Self {
        Self { place: tempfile::tempdir().unwrap(), attempts: Attempts::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn entry(&self, hook: &str) -> Arc<CredentialEntry> {
        let text = format!(
            "version = 1\n[[issuer]]\nname = \"ca\"\nkind = \"directory\"\npath = \"ca\"\n[[credential]]\nname = \"bot\"\n\
             identity = \"spiffe://agents.internal/agent/bot\"\nissuer = \"ca\"\ndirectory = \"id\"\n[[credential.hook]]\n{hook}\n"
        );
        Arc::clone(&Config::parse(&text, &self.path("rotate.toml")).unwrap().credentials[0])
    }

    async fn run(&self, hook: &str) -> Result<(), String> {
        run(&self.attempts, self.entry(hook), 0, 7).await
    }
}

/// Waits until a process is gone, or is a zombie that nobody will ever run again.
fn is_gone(pid: &str) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        match fs::read_to_string(format!("/proc/{pid}/stat")) {
            Err(_) => return true,
            Ok(stat) if stat.contains(") Z ") => return true,
            Ok(_) => std::thread::yield_now(),
        }
    }
    false
}

#[tokio::test]
async fn a_command_gets_its_arguments_as_they_are_and_an_environment_of_its_own() {
    let bench = Bench::new();
    let script = "printf '%s\\n' \"$0\" \"$COUNTERMARK_GENERATION\" \"$COUNTERMARK_CREDENTIAL\" \"$COUNTERMARK_DIRECTORY\" \"$MORE\" \"$HOME\" > $OUT";
    let hook = format!(
        "run = [\"/bin/sh\", \"-c\", {script:?}, \"a b; $(c)\"]\nenv = {{ OUT = \"{}\", MORE = \"x\" }}",
        bench.path("out").display()
    );
    bench.run(&hook).await.unwrap();
    let said = fs::read_to_string(bench.path("out")).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines, ["a b; $(c)", "7", "bot", bench.path("id").to_str().unwrap(), "x", ""]);
}

#[tokio::test]
async fn a_command_that_fails_or_is_missing_says_how() {
    let bench = Bench::new();
    assert!(bench.run("run = [\"/bin/sh\", \"-c\", \"exit 3\"]").await.unwrap_err().contains("exit status: 3"));
    assert!(bench.run("run = [\"/no/such/program\"]").await.unwrap_err().contains("cannot run `/no/such/program`"));
}

#[tokio::test]
async fn a_command_that_hangs_is_killed_with_all_that_it_started() {
    let bench = Bench::new();
    let pids = bench.path("pids");
    let script = format!("sleep 600 & echo $! > {0}; echo $$ >> {0}; trap '' TERM HUP; wait", pids.display());
    let begun = Instant::now();
    let error = bench.run(&format!("run = [\"/bin/sh\", \"-c\", {script:?}]\ntimeout = \"1s\"")).await.unwrap_err();
    assert!(error.contains("was killed"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(8));
    for pid in fs::read_to_string(&pids).unwrap().lines() {
        assert!(is_gone(pid), "{pid} lives");
    }
}

#[tokio::test]
async fn a_command_that_forks_and_ends_leaves_nothing_running() {
    let bench = Bench::new();
    let pids = bench.path("pids");
    let script = format!("sleep 600 & echo $! > {}", pids.display());
    let begun = Instant::now();
    bench.run(&format!("run = [\"/bin/sh\", \"-c\", {script:?}]\ntimeout = \"30s\"")).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10), "it is over when the command is");
    assert!(is_gone(fs::read_to_string(&pids).unwrap().trim()));
}

#[tokio::test]
async fn a_signal_reaches_the_process_of_the_pid_file_and_no_other() {
    let bench = Bench::new();
    let script = format!(
        // Not HUP, which whoever runs this in the background may ignore; and no longer than a test may take.
        "trap 'touch {0}' USR1; touch {1}; for _ in $(seq 600); do sleep 0.05; done",
        bench.path("got").display(),
        bench.path("up").display()
    );
    let mut child = std::process::Command::new("/bin/sh").args(["-c", &script]).spawn().unwrap();
    let wait = |name: &str| {
        let begun = Instant::now();
        while !bench.path(name).exists() && begun.elapsed() < Duration::from_secs(10) {
            std::thread::yield_now();
        }
        bench.path(name).exists()
    };
    assert!(wait("up"));
    fs::write(bench.path("pid"), format!("{}\n", child.id())).unwrap();
    let hook = "signal = \"USR1\"\npid-file = \"pid\"";
    bench.run(hook).await.unwrap();
    assert!(wait("got"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(bench.run(hook).await.unwrap_err().contains("process"), "it is gone");
    for text in ["", "0", "1", "-1", "-7", "x", "99999999999"] {
        fs::write(bench.path("pid"), text).unwrap();
        assert!(bench.run(hook).await.unwrap_err().contains("holds no process number"), "{text}");
    }
    fs::remove_file(bench.path("pid")).unwrap();
    assert!(bench.run(hook).await.unwrap_err().contains("cannot read"));
}

#[tokio::test]
async fn a_request_must_be_answered_with_success_and_in_time() {
    let bench = Bench::new();
    for (answer, good) in [
        (&b"HTTP/1.1 204 No Content\r\n\r\n"[..], true),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", false),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", false),
        (b"nonsense\r\n\r\n", false),
        (b"", false),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 512];
            let length = stream.read(&mut buffer).await.unwrap();
            stream.write_all(answer).await.unwrap();
            // Held open, so that silence is silence.
            if answer.is_empty() {
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        });
        let result = bench.run(&format!("request = \"http://{address}/reload?x=1\"\ntimeout = \"1s\"")).await;
        assert_eq!(result.is_ok(), good, "{result:?}");
        if good {
            let asked = task.await.unwrap();
            assert!(asked.starts_with("POST /reload?x=1 HTTP/1.1\r\n"), "{asked}");
        } else {
            task.abort();
        }
    }
}

#[tokio::test]
async fn a_touch_changes_the_time_and_nothing_else() {
    let bench = Bench::new();
    bench.run("touch = \"stamp\"").await.unwrap();
    fs::write(bench.path("stamp"), "kept").unwrap();
    let old = fs::File::options().write(true).open(bench.path("stamp")).unwrap();
    old.set_modified(std::time::UNIX_EPOCH).unwrap();
    bench.run("touch = \"stamp\"").await.unwrap();
    assert_eq!(fs::read_to_string(bench.path("stamp")).unwrap(), "kept");
    assert!(fs::metadata(bench.path("stamp")).unwrap().modified().unwrap() > std::time::UNIX_EPOCH);
    assert!(bench.run("touch = \"no/such/dir/stamp\"").await.is_err());
}

#[tokio::test]
async fn a_pid_file_that_is_none_holds_up_nobody() {
    let bench = Bench::new();
    let pipe = std::process::Command::new("mkfifo").arg(bench.path("pid")).status().unwrap();
    assert!(pipe.success());
    let begun = Instant::now();
    let hook = "signal = \"HUP\"\npid-file = \"pid\"\ntimeout = \"30s\"";
    let error = bench.run(hook).await.unwrap_err();
    assert!(error.contains("no regular file") && begun.elapsed() < Duration::from_secs(20), "{error}");
}

#[test]
fn a_file_system_that_hangs_takes_one_thread_and_leaves_the_others() {
    let bench = Bench::new();
    let pipe = bench.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(2).build().unwrap();
    // Nobody reads the pipe, so that it cannot be opened.
    let hook = "touch = \"pipe\"\ntimeout = \"1s\"";
    let (first, others, another) = runtime.block_on(async {
        let first = bench.run(hook).await;
        let others = [bench.run(hook).await, bench.run(hook).await, bench.run(hook).await];
        (first, others, bench.run("touch = \"stamp\"\ntimeout = \"10s\"").await)
    });
    drop(fs::File::open(&pipe).unwrap());
    let begun = Instant::now();
    let again = runtime.block_on(async {
        loop {
            match bench.run(hook).await {
                Err(error) if error.contains("has not ended") && begun.elapsed() < Duration::from_secs(10) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                other => return other,
            }
        }
    });
    // Whatever still waits would hold up the end of the runtime.
    runtime.shutdown_background();
    assert!(first.unwrap_err().contains("did not end"));
    for other in others {
        assert!(other.unwrap_err().contains("the attempt before has not ended"));
    }
    another.unwrap();
    assert!(again.unwrap_err().contains("did not end"), "it begins anew once the one before has ended");
}
