//! Hooks that run once more.

use super::*;

/// Two deliveries, then two hooks.
fn delivering(memory: &Memory) -> Bench {
    Bench::of(Duties { hooks: 4, deliveries: 2, ..DUTIES }, memory)
}

/// The hooks that run from here on, in their order, each of them well.
fn run_on(bench: &mut Bench, mut said: Vec<String>) -> Vec<usize> {
    let mut ran = Vec::new();
    while let Some(hook) = said.iter().find_map(|word| word.strip_prefix("hook ")?.strip_suffix(" of 1")?.parse().ok())
    {
        ran.push(hook);
        said = bench.hooked(hook, 1, true);
    }
    ran
}

#[test]
fn a_delivery_that_succeeds_late_is_carried_on_by_all_behind_it() {
    let mut bench = delivering(&Memory::default());
    bench.found(None, None);
    bench.delivered(1, 1);
    let said = bench.hooked(0, 1, false);
    assert_eq!(run_on(&mut bench, said), [1, 2, 3], "nobody is held up");
    assert!(bench.machine.memory().hooks_done.is_empty(), "and nobody has seen it yet");
    let (life, memory) = (bench.machine.life().cloned(), bench.machine.memory());
    bench.pass(2);
    assert_eq!(bench.tell(Input::Woke), ["hook 0 of 1"]);
    assert_eq!(bench.hooked(0, 1, false), ["hook_failed"]);
    bench.pass(3);
    let said = bench.tell(Input::Woke);
    assert_eq!(run_on(&mut bench, said), [0, 1, 2, 3]);
    assert!(bench.machine.is_settled());
    assert_eq!(bench.machine.memory().hooks_done, [0, 1, 2, 3]);
    // Also when the process ends in between.
    let mut killed = delivering(&memory);
    let said = killed.found(life, Some(1));
    assert_eq!(run_on(&mut killed, said), [0, 1, 2, 3]);
}

#[test]
fn a_late_delivery_of_other_trust_is_carried_on_by_those_alone_that_have_to_do_with_it() {
    let mut bench = delivering(&Memory::default());
    bench.found(None, None);
    let said = bench.delivered(1, 1);
    assert_eq!(run_on(&mut bench, said), [0, 1, 2, 3]);
    let moved = Input::TrustMoved { trust: mark(2), hooks: vec![0, 1, 3] };
    assert_eq!(bench.tell(moved), ["hook 0 of 1"]);
    let said = bench.hooked(0, 1, false);
    assert_eq!(run_on(&mut bench, said), [1, 3]);
    assert_eq!(bench.machine.memory().hooks_done, [2]);
    bench.pass(2);
    let said = bench.tell(Input::Woke);
    assert_eq!(run_on(&mut bench, said), [0, 1, 3], "the third is for another generation alone");
}

#[test]
fn a_hook_that_delivers_nothing_and_succeeds_late_is_repeated_by_nobody() {
    let mut bench = delivering(&Memory::default());
    bench.found(None, None);
    bench.delivered(1, 1);
    bench.hooked(0, 1, true);
    bench.hooked(1, 1, true);
    assert_eq!(bench.hooked(2, 1, false), ["hook_failed", "hook 3 of 1"]);
    assert_eq!(bench.hooked(3, 1, true), ["hook_done"]);
    bench.pass(2);
    let said = bench.tell(Input::Woke);
    assert_eq!(run_on(&mut bench, said), [2]);
    assert!(bench.machine.is_settled());
}

/// Probes that find another certificate, as often as they come, until the hooks are run again; how many, and when.
fn insist(bench: &mut Bench) -> Option<(usize, Duration)> {
    for probes in 1..40 {
        if bench.probed(1, 9).contains(&"hooks_repeated".to_owned()) {
            return Some((probes, bench.mono));
        }
        let (_, due) = bench.machine.wake(bench.now());
        bench.mono = due.unwrap();
        assert_eq!(bench.tell(Input::Woke), ["probe 1"]);
    }
    None
}

#[test]
fn a_consumer_that_drains_is_not_told_again_within_half_a_minute() {
    let mut bench = Bench::new(1, true);
    bench.found(None, None);
    bench.delivered(1, 1);
    bench.pass(10);
    assert_eq!(bench.hooked(0, 1, true), ["hook_done", "probe 1"]);
    let (probes, at) = insist(&mut bench).unwrap();
    assert!(probes >= 3 && at >= Duration::from_secs(40), "{probes} {at:?}");
    assert!(at < Duration::from_secs(80), "{at:?}");
}

#[test]
fn only_other_certificates_in_a_row_make_the_hooks_run_again() {
    let mut bench = Bench::new(1, true);
    bench.found(None, None);
    bench.delivered(1, 1);
    bench.hooked(0, 1, true);
    for round in 0..20 {
        bench.pass(200);
        bench.tell(Input::Woke);
        if round % 3 == 2 {
            let result = Err("nobody answers".to_owned());
            assert_eq!(bench.tell(Input::Probed { generation: 1, result }), ["probe_failed"]);
        } else {
            assert_eq!(bench.probed(1, 9), ["served_serial_mismatch"]);
        }
    }
}

#[test]
fn where_they_are_not_to_be_repeated_they_are_not() {
    let mut bench = Bench::of(Duties { hooks: 1, probe: true, repeats: false, ..DUTIES }, &Memory::default());
    bench.found(None, None);
    bench.delivered(1, 1);
    bench.hooked(0, 1, true);
    assert_eq!(insist(&mut bench), None);
}

#[test]
fn hooks_are_not_run_again_while_one_of_them_fails_and_then_as_if_nothing_had_been_served_before() {
    let mut bench = Bench::new(1, true);
    bench.found(None, None);
    bench.delivered(1, 1);
    assert_eq!(bench.hooked(0, 1, false), ["hook_failed", "probe 1"]);
    for _ in 0..60 {
        assert_eq!(bench.probed(1, 9), ["served_serial_mismatch"]);
        bench.mono += Duration::from_secs(200);
        assert_eq!(bench.tell(Input::Woke), ["hook 0 of 1", "probe 1"]);
        assert_eq!(bench.hooked(0, 1, false), ["hook_failed"]);
    }
    assert_eq!(bench.probed(1, 9), ["served_serial_mismatch"]);
    bench.mono += Duration::from_secs(200);
    assert_eq!(bench.tell(Input::Woke), ["hook 0 of 1", "probe 1"]);
    assert_eq!(bench.hooked(0, 1, true), ["hook_done"]);
    let succeeded = bench.mono;
    let (probes, at) = insist(&mut bench).unwrap();
    assert!(probes >= 3 && at >= succeeded + Duration::from_secs(30), "{probes} {at:?}");
    assert_eq!(bench.machine.duties().last().unwrap().repeats, 1, "none was spent before");
}

#[test]
fn another_certificate_under_the_same_number_is_told_to_the_hooks() {
    let mut bench = Bench::new(2, false);
    let first = bench.life(1, 3600);
    bench.found(Some(first.clone()), Some(1));
    bench.hooked(0, 1, true);
    assert_eq!(bench.hooked(1, 1, true), ["hook_done", "succeeded"]);
    let memory = bench.machine.memory();
    let second = bench.life(2, 3600);
    let said = bench.found(Some(second.clone()), Some(1));
    assert_eq!(said, ["changed_by_hand", "hook 0 of 1"]);
    // A third, while a hook runs for the second.
    let third = bench.life(3, 3600);
    assert_eq!(bench.found(Some(third), Some(1)), ["changed_by_hand"]);
    assert_eq!(bench.hooked(0, 1, true), ["hook_done", "hook 0 of 1"]);
    assert_eq!(bench.hooked(0, 1, true), ["hook_done", "hook 1 of 1"]);
    assert_eq!(bench.hooked(1, 1, true), ["hook_done", "succeeded"]);
    // Also where it was put there while nobody looked.
    assert_eq!(Bench::restored(2, false, &memory).found(Some(second), Some(1)), ["found", "hook 0 of 1"]);
    assert_eq!(Bench::restored(2, false, &memory).found(Some(first), Some(1)), ["found"]);
}
