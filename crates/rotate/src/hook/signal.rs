//! Signals to the process of a pid file, and to a systemd unit.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::command;
use crate::config::{CredentialEntry, SignalName};

/// Sends a signal to the process whose number stands in a file.
pub(super) fn pid_file(path: &Path, signal: SignalName) -> Result<(), String> {
    let text = read(path).map_err(|error| format!("cannot read the pid file {}: {error}", path.display()))?;
    let wrong = || format!("the pid file {} holds no process number", path.display());
    let number: Option<i32> = text.split_whitespace().next().and_then(|number| number.parse().ok());
    // Zero and below are groups, and 1 is nobody's consumer.
    let number = number.filter(|number| *number > 1).ok_or_else(wrong)?;
    let pid = Pid::from_raw(number).ok_or_else(wrong)?;
    let signal = match signal {
        SignalName::Hup => Signal::HUP,
        SignalName::Usr1 => Signal::USR1,
        SignalName::Usr2 => Signal::USR2,
    };
    kill_process(pid, signal).map_err(|error| format!("process {number} of {}: {error}", path.display()))
}

/// The beginning of a regular file: another kind might never end, or never begin.
fn read(path: &Path) -> io::Result<String> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}

/// No process number is longer.
const LONGEST: u64 = 64;

/// Has systemd send a signal to the main process of a unit.
pub(super) async fn unit(
    entry: &CredentialEntry,
    generation: u64,
    unit: &str,
    signal: SignalName,
    timeout: Duration,
) -> Result<(), String> {
    let signal = format!("--signal={}", signal.as_str());
    let command = ["systemctl", "kill", "--kill-who=main", &signal, "--", unit].map(str::to_owned);
    command::run(entry, generation, &command, &BTreeMap::new(), timeout).await
}
