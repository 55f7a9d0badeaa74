//! Commands: an argument array, an environment of their own, a process group that ends with them.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Command;

use super::REAP;
use crate::config::CredentialEntry;

/// Runs a command to its end. Whatever it leaves running in its process group is killed: when its time is up, and also when it
/// has ended, so that hooks do not pile up.
pub(super) async fn run(
    entry: &CredentialEntry,
    generation: u64,
    command: &[String],
    env: &BTreeMap<String, String>,
    timeout: Duration,
) -> Result<(), String> {
    let (program, arguments) = command.split_first().ok_or("there is no command")?;
    let current = entry.directory.join("generations").join(generation.to_string());
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .env("COUNTERMARK_CREDENTIAL", entry.name.as_ref())
        .env("COUNTERMARK_IDENTITY", entry.identity.to_string())
        .env("COUNTERMARK_DIRECTORY", &entry.directory)
        .env("COUNTERMARK_GENERATION", generation.to_string())
        .env("COUNTERMARK_GENERATION_DIRECTORY", current)
        .envs(env)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("cannot run `{program}`: {error}"))?;
    let group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
    let ended = tokio::time::timeout(timeout, child.wait()).await;
    drop(group);
    match ended {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("`{program}` ended with {status}")),
        Ok(Err(error)) => Err(format!("`{program}`: {error}")),
        Err(_) => {
            // Killed with its group; it is reaped, so that nothing of it stays.
            let _reaped = tokio::time::timeout(REAP, child.wait()).await;
            Err(format!("`{program}` took more than {timeout:?} and was killed with all that it started"))
        }
    }
}

/// A process group, killed when this is dropped: also when the daemon stops in between.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // Gone already is what is wanted.
            let _gone = kill_process_group(leader, Signal::KILL);
        }
    }
}

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
