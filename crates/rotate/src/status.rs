//! How credentials stand, for `ctl`, probes and metrics.

use countermark_identity::UnixTime;
use serde::{Deserialize, Serialize};

use crate::config::{CredentialEntry, HookKind};
use crate::machine::{MOST_REPEATS, Machine, Moment};

/// How everything stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// Whether every credential can be used now.
    pub ready: bool,
    /// One for each credential.
    pub credentials: Vec<CredentialStatus>,
}

impl Status {
    pub(crate) fn new(credentials: Vec<CredentialStatus>) -> Self {
        Self { ready: credentials.iter().all(|credential| credential.usable), credentials }
    }
}

/// How one credential stands. Times are seconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CredentialStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Whose it is.
    pub identity: String,
    /// Where it is delivered.
    pub directory: String,
    /// From whom.
    pub issuer: String,
    /// Whether it can be used now.
    pub usable: bool,
    /// `green`, `amber` or `red`.
    pub health: String,
    /// The serial that is delivered.
    pub serial: Option<String>,
    /// When it was issued.
    pub issued: Option<u64>,
    /// When it ends.
    pub not_after: Option<u64>,
    /// Its generation in the directory.
    pub generation: Option<u64>,
    /// When it is renewed.
    pub renewal: Option<u64>,
    /// The window that the issuer named.
    pub window: Option<(u64, u64)>,
    /// Whether a renewal is under way.
    pub renewing: bool,
    /// Renewals that failed in a row.
    pub failures: u32,
    /// At which step the last one failed, and why.
    pub failure: Option<FailureStatus>,
    /// Whether the issuer has taken the request and will answer later: somebody may have to approve it there.
    #[serde(default)]
    pub awaiting_approval: bool,
    /// In how many seconds the next attempt is.
    pub retry_in: Option<u64>,
    /// When a rotation last succeeded: delivered, hooks done, and, with a probe, served.
    pub last_success: Option<u64>,
    /// The hooks in their order, then the probe.
    pub duties: Vec<DutyStatus>,
}

/// The last failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FailureStatus {
    /// At which step.
    pub step: String,
    /// Why.
    pub cause: String,
}

/// How a hook or the probe stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DutyStatus {
    /// What it is.
    pub what: String,
    /// Whether it is done for the generation that counts.
    pub done: bool,
    /// How often it failed in a row.
    pub failures: u32,
    /// Why, the last time.
    pub cause: Option<String>,
    /// The serial that is served, where it is not the delivered one.
    pub served: Option<String>,
    /// How often the hooks were run again for that.
    pub hooks_repeated: u32,
}

impl CredentialStatus {
    pub(crate) fn of(entry: &CredentialEntry, machine: &Machine, now: Moment) -> Self {
        let life = machine.life();
        let duties = machine.duties().map(|duty| DutyStatus {
            what: duty.hook.map_or_else(|| "probe".to_owned(), |hook| describe(entry, hook)),
            done: duty.done,
            failures: duty.failures,
            cause: duty.cause.map(str::to_owned),
            served: duty.served.map(ToString::to_string),
            hooks_repeated: duty.repeats,
        });
        Self {
            name: entry.name.to_string(),
            identity: entry.identity.to_string(),
            directory: entry.directory.display().to_string(),
            issuer: entry.issuer.name.clone(),
            usable: life.is_some_and(|life| life.is_usable(now.wall)),
            health: machine.health(now.wall).as_str().to_owned(),
            serial: life.map(|life| life.serial.to_string()),
            issued: life.map(|life| life.issued.as_secs()),
            not_after: life.map(|life| life.not_after.as_secs()),
            generation: machine.generation(),
            renewal: machine.renewal().map(UnixTime::as_secs),
            window: machine.window().map(|window| (window.start.as_secs(), window.end.as_secs())),
            renewing: machine.is_renewing(),
            failures: machine.failures(),
            failure: machine
                .cause()
                .map(|(step, cause)| FailureStatus { step: step.as_str().to_owned(), cause: cause.to_owned() }),
            awaiting_approval: machine.is_awaiting(),
            retry_in: machine.retry_at().map(|at| at.saturating_sub(now.mono).as_secs()),
            last_success: machine.last_success().map(UnixTime::as_secs),
            duties: duties.collect(),
        }
    }

    /// Why it stands as it does, in sentences.
    #[must_use]
    pub fn why(&self, now: UnixTime) -> Vec<String> {
        let time = |secs: u64| UnixTime::from_secs(secs).to_string();
        let mut lines = Vec::new();
        match (&self.serial, self.issued, self.not_after) {
            (Some(serial), Some(issued), Some(not_after)) => {
                let life = not_after.saturating_sub(issued).max(1);
                let over = now.as_secs().saturating_sub(issued) * 100 / life;
                lines.push(format!(
                    "{} holds serial {serial}, issued {}, until {}: {over} % of its life are over, health {}",
                    self.directory,
                    time(issued),
                    time(not_after),
                    self.health
                ));
            }
            _ => lines.push(format!("{} holds no credential that can be used, health red", self.directory)),
        }
        if self.awaiting_approval {
            let what = "waiting for approval: it has taken the request and will answer later";
            lines.push(format!("{}: {what}", self.issuer));
        }
        match (self.renewing, self.retry_in, self.renewal) {
            (true, _, _) => lines.push(format!("a renewal is under way with {}", self.issuer)),
            (false, Some(retry), _) => lines.push(format!("the next attempt is in {retry} s")),
            (false, None, Some(renewal)) => lines.push(self.planned(renewal, &time)),
            (false, None, None) => lines.push("a renewal is due now".to_owned()),
        }
        if let Some(FailureStatus { step, cause }) = &self.failure {
            lines.push(match self.failures {
                1 => format!("the last renewal failed at {step}: {cause}"),
                times => format!("{times} renewals in a row failed, the last at {step}: {cause}"),
            });
        }
        for duty in self.duties.iter().filter(|duty| !duty.done) {
            let cause = duty.cause.as_deref().unwrap_or("it has not ended yet");
            let served = duty.served.as_ref().map(|serial| format!(" (serial {serial})")).unwrap_or_default();
            let again = match duty.hooks_repeated {
                0 => String::new(),
                times => format!("; the hooks were run again for that ({times} of at most {MOST_REPEATS} times)"),
            };
            lines.push(format!("{} is not done after {} failures: {cause}{served}{again}", duty.what, duty.failures));
        }
        match self.last_success {
            Some(at) => lines.push(format!("the last rotation succeeded at {}", time(at))),
            None => lines.push("no rotation has succeeded yet".to_owned()),
        }
        lines
    }

    fn planned(&self, renewal: u64, time: &impl Fn(u64) -> String) -> String {
        let by = match self.window {
            Some((start, end)) => {
                format!("by the issuer's window from {} to {}", time(start), time(end))
            }
            None => "at half of its life (66 % where that is over a day), up to a tenth earlier".to_owned(),
        };
        format!("it is renewed at {}, {by}", time(renewal))
    }
}

/// A hook in a few words, without its arguments: they may be long, and are nobody's business.
fn describe(entry: &CredentialEntry, hook: usize) -> String {
    let what = match entry.hooks.get(hook).map(|hook| &hook.kind) {
        Some(HookKind::Keystore) => "roots of the keystore".to_owned(),
        Some(HookKind::Projected { dir }) => format!("projection to {}", dir.display()),
        Some(HookKind::Secret(secret)) => format!("manifest {}", secret.path.display()),
        Some(HookKind::Run { command, .. }) => format!("run {}", command.first().map_or("", String::as_str)),
        Some(HookKind::SignalPid { pid_file, signal }) => {
            format!("signal {} to {}", signal.as_str(), pid_file.display())
        }
        Some(HookKind::SignalUnit { unit, signal }) => format!("signal {} to {unit}", signal.as_str()),
        Some(HookKind::Request { url, .. }) => format!("request {url}"),
        Some(HookKind::Touch { path }) => format!("touch {}", path.display()),
        None => String::new(),
    };
    format!("hook {}: {what}", hook + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(duty: &str) -> CredentialStatus {
        let text = format!(
            r#"{{"name":"bot","identity":"spiffe://agents.internal/agent/bot","directory":"bot","issuer":"ca","usable":true,
            "health":"green","serial":"0a","issued":100,"not_after":200,"generation":1,"renewal":150,"window":null,
            "renewing":false,"failures":0,"failure":null,"retry_in":null,"last_success":null,"duties":[{duty}]}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn one_renewal_that_failed_is_no_row_of_them() {
        let failed = |failures: u32| {
            let failure = Some(FailureStatus { step: "issue".to_owned(), cause: "no".to_owned() });
            CredentialStatus { failures, failure, ..status("") }.why(UnixTime::from_secs(110)).join("\n")
        };
        assert!(failed(1).contains("the last renewal failed at issue: no"), "{}", failed(1));
        assert!(failed(2).contains("2 renewals in a row failed, the last at issue: no"), "{}", failed(2));
    }

    #[test]
    fn why_says_that_hooks_were_run_again() {
        let duty = |repeated: u32| {
            let duty =
                r#"{"what":"probe","done":false,"failures":7,"cause":"it serves another certificate","served":"09","#;
            status(&format!("{duty}\"hooks_repeated\":{repeated}}}")).why(UnixTime::from_secs(110)).join("\n")
        };
        let said = duty(2);
        assert!(
            said.contains("probe is not done after 7 failures: it serves another certificate (serial 09)"),
            "{said}"
        );
        assert!(said.contains("the hooks were run again for that (2 of at most 5 times)"), "{said}");
        assert!(!duty(0).contains("run again"), "{said}");
    }
}
