//! Hooks as written.

use std::net::IpAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use http::{Method, Uri};
use toml::Spanned;

use super::{Located, Resolver, time, value};
use crate::config::document::{Credential, Hook};
use crate::config::{Fault, HookEntry, HookKind, HookOccasion, SignalName};

impl Resolver<'_> {
    /// Further places of delivery, then the hooks as they stand.
    pub(super) fn hooks(&self, written: &Credential) -> Located<Vec<HookEntry>> {
        let place = |kind| HookEntry { kind, timeout: TIMEOUT, on: HookOccasion::Both };
        let mut hooks = Vec::new();
        // Before whatever copies it.
        hooks.extend(written.keystore_password_file.as_ref().map(|_| place(HookKind::Keystore)));
        let projected = written.projected.as_ref().map(|dir| HookKind::Projected { dir: self.rooted(dir.get_ref()) });
        hooks.extend(projected.map(place));
        if let Some(secret) = &written.secret {
            hooks.push(place(HookKind::Secret(self.secret(secret)?)));
        }
        for hook in &written.hook {
            hooks.push(self.hook(hook)?);
        }
        Ok(hooks)
    }

    /// The further places of delivery, and where they stand.
    pub(super) fn places(&self, written: &Credential) -> impl Iterator<Item = (PathBuf, Range<usize>)> {
        let secret = written.secret.as_ref().map(|secret| &secret.path);
        [written.projected.as_ref(), secret]
            .into_iter()
            .flatten()
            .map(|path| (self.rooted(path.get_ref()), path.span()))
    }

    fn hook(&self, written: &Spanned<Hook>) -> Located<HookEntry> {
        let hook = written.get_ref();
        let refuse = || (written.span(), Fault::Hook);
        let kinds = [hook.run.is_some(), hook.signal.is_some(), hook.request.is_some(), hook.touch.is_some()];
        let stray = (!hook.env.is_empty() && hook.run.is_none())
            || (hook.method.is_some() && hook.request.is_none())
            || ((hook.pid_file.is_some() || hook.unit.is_some()) && hook.signal.is_none());
        if kinds.iter().filter(|kind| **kind).count() != 1 || stray {
            return Err(refuse());
        }
        let kind = match hook {
            Hook { run: Some(run), .. } => {
                if run.get_ref().first().is_none_or(|program| program.is_empty()) {
                    return Err((run.span(), Fault::Hook));
                }
                HookKind::Run { command: run.get_ref().clone(), env: hook.env.clone() }
            }
            Hook { signal: Some(signal), .. } => self.signal(signal, hook).ok_or_else(refuse)??,
            Hook { request: Some(request), .. } => HookKind::Request {
                method: match &hook.method {
                    Some(method) => value(method, "method", "\"POST\"", |text| match text {
                        "GET" => Some(Method::GET),
                        "POST" => Some(Method::POST),
                        "PUT" => Some(Method::PUT),
                        _ => None,
                    })?,
                    None => Method::POST,
                },
                url: value(request, "URL of this machine", "http://127.0.0.1:9000/reload", loopback)?,
            },
            Hook { touch: Some(path), .. } => HookKind::Touch { path: self.rooted(path) },
            _ => return Err(refuse()),
        };
        let on = hook.on.as_ref().map(|on| {
            value(on, "occasion", "\"credential\" or \"both\"", |text| match text {
                "credential" => Some(HookOccasion::Credential),
                "both" => Some(HookOccasion::Both),
                _ => None,
            })
        });
        let timeout = hook.timeout.as_ref().map(time).transpose()?.unwrap_or(TIMEOUT);
        Ok(HookEntry { kind, timeout, on: on.transpose()?.unwrap_or_default() })
    }

    fn signal(&self, signal: &Spanned<String>, hook: &Hook) -> Option<Located<HookKind>> {
        let signal = value(signal, "signal", "\"HUP\", \"USR1\" or \"USR2\"", |text| {
            match text.strip_prefix("SIG").unwrap_or(text) {
                "HUP" => Some(SignalName::Hup),
                "USR1" => Some(SignalName::Usr1),
                "USR2" => Some(SignalName::Usr2),
                _ => None,
            }
        });
        let kind = |signal| match (&hook.pid_file, &hook.unit) {
            (Some(file), None) => Some(Ok(HookKind::SignalPid { pid_file: self.rooted(file), signal })),
            (None, Some(unit)) => {
                let unit = value(unit, "unit", "\"nginx.service\"", |text| {
                    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | ':' | '\\');
                    (!text.starts_with('-') && !text.is_empty() && text.chars().all(plain)).then(|| text.to_owned())
                });
                Some(unit.map(|unit| HookKind::SignalUnit { unit, signal }))
            }
            _ => None,
        };
        match signal {
            Ok(signal) => kind(signal),
            Err(fault) => Some(Err(fault)),
        }
    }
}

/// A plain URL whose host is a loopback address or `localhost`.
fn loopback(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let host = uri.host()?.trim_matches(['[', ']']);
    let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let plain = uri.scheme_str() == Some("http") && !uri.authority()?.as_str().contains('@');
    (here && plain).then_some(uri)
}

const TIMEOUT: Duration = Duration::from_secs(30);
