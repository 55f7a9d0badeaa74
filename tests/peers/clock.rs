//! A wall clock that jumps under the running daemon, by libfaketime; the monotonic one goes on as it does.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use countermark::identity::{Clock as _, SystemClock};
use serde_json::Value;

use super::estate::Estate;
use super::rotation::{Rotation, of_directory};
use super::set_up;

#[test]
fn a_clock_that_jumps_by_a_day_renews_at_once_either_way() -> Result<()> {
    let (Some(binary), Some(library)) = (set_up::countermark(), libfaketime()) else { return Ok(()) };
    let estate = Estate::new(&binary, "tools = [\"*\"]")?;
    let file = estate.path("clock");
    std::fs::write(&file, "+0d\n")?;
    let text = of_directory("books", "server/books", "ttl = \"5m\"\n");
    let environment = [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("NO_FAKE_STAT", "1".to_owned()),
    ];
    let mut rotation = Rotation::start_in(&estate, "rotate.toml", &text, &environment)?;
    let mut before = rotation.until("books", "a first generation", |status| status["serial"].is_string())?;
    near(&before, 0)?;
    // Forward, and back: further back there is no authority yet.
    for (offset, seconds) in [(1, "86"), (0, "-86")] {
        std::fs::write(estate.path("clock.new"), format!("{offset:+}d\n"))?;
        std::fs::rename(estate.path("clock.new"), &file)?;
        let jumped = |line: &str| line.contains("clock jumped").then(|| line.to_owned());
        let begun = Instant::now();
        let line = rotation.wait_for(jumped).with_context(|| format!("{offset:+} d"))?;
        ensure!(line.contains(&format!("seconds={seconds}")), "{line}");
        // Of five minutes, the hundredth part is three seconds.
        ensure!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
        let after = rotation.until("books", "another certificate", |status| status["serial"] != before["serial"])?;
        ensure!(after["failures"] == 0, "{after}");
        near(&after, offset)?;
        before = after;
    }
    Ok(())
}

/// It ends five minutes after a clock that is off by so many days.
fn near(status: &Value, days: i64) -> Result<()> {
    let now = SystemClock.now().as_secs();
    let wanted = now.saturating_add_signed(days * 86_400) + 300;
    let found = status["not_after"].as_u64().context("an end")?;
    ensure!(found.abs_diff(wanted) < Duration::from_secs(120).as_secs(), "{days} days: {found}, not about {wanted}");
    Ok(())
}

/// The library that Debian's `faketime` brings, or `None` after the skip has been printed.
fn libfaketime() -> Option<PathBuf> {
    set_up::installed("faketime")?;
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let found = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1")).find(|file| file.is_file());
    found.or_else(|| set_up::skip("faketime brings no libfaketimeMT.so.1"))
}
