//! Starting and ending one child: no shell, no environment but what is given, no descriptor but its three, its own process group.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, kill_process_group, prlimit, waitid};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, sleep};

use super::user::User;
use crate::guard::StdioServer;

/// How long a child may take to end after its input ended, and again after SIGTERM.
const GRACE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(20);

/// A running child; dropping it kills its whole process group.
#[derive(Debug)]
pub(crate) struct Running {
    // Dropped before the child, so that the group is killed while the leader's pid is still its own.
    group: Group,
    child: Child,
}

#[derive(Debug)]
struct Group(Pid);

/// The three streams of a child.
#[derive(Debug)]
pub(crate) struct Pipes {
    pub(crate) stdin: ChildStdin,
    pub(crate) stdout: ChildStdout,
    pub(crate) stderr: ChildStderr,
}

impl Running {
    /// Spawns the server's program.
    pub(crate) fn spawn(server: &StdioServer, user: Option<User>) -> io::Result<(Self, Pipes)> {
        // What this process inherited without close-on-exec would reach the child, too.
        close_fds::set_fds_cloexec_threadsafe(3, &[]);
        let mut child = command(server, user).spawn()?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let Some(pid) = pid else {
            return Err(io::Error::other("the program ended at once"));
        };
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let running = Self { group: Group(pid), child };
        if let Some(memory) = server.limits.memory {
            prlimit(Some(pid), Resource::As, Rlimit { current: Some(memory), maximum: Some(memory) })?;
        }
        match (stdin, stdout, stderr) {
            (Some(stdin), Some(stdout), Some(stderr)) => Ok((running, Pipes { stdin, stdout, stderr })),
            _ => Err(io::Error::other("no pipes")),
        }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> i32 {
        self.group.0.as_raw_nonzero().get()
    }

    /// Waits for the end of a child whose input has ended, hurries it, kills what is left of its group, and reaps it.
    pub(crate) async fn end(mut self) {
        if !self.ends_within(GRACE).await {
            let _ = kill_process_group(self.group.0, Signal::TERM);
            self.ends_within(GRACE).await;
        }
        // Not reaped yet, so the group's id cannot have become another's.
        let _ = kill_process_group(self.group.0, Signal::KILL);
        match self.child.wait().await {
            Ok(status) => tracing::debug!(pid = self.pid(), %status, "the stdio server ended"),
            Err(error) => tracing::warn!(pid = self.pid(), %error, "the stdio server cannot be waited for"),
        }
        std::mem::forget(self.group);
    }

    async fn ends_within(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        loop {
            match waitid(WaitId::Pid(self.group.0), look) {
                Ok(None) if Instant::now() < until => sleep(POLL).await,
                Ok(None) => return false,
                Ok(Some(_)) | Err(_) => return true,
            }
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = kill_process_group(self.0, Signal::KILL);
    }
}

fn command(server: &StdioServer, user: Option<User>) -> Command {
    let mut command = Command::new(&server.command);
    command
        .args(&server.args)
        .env_clear()
        .envs(server.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if let Some(user) = user {
        // As root this drops the supplementary groups, too.
        command.uid(user.uid).gid(user.gid);
    }
    command
}
