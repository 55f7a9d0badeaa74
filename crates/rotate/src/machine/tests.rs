mod aftermath;

use countermark_identity::Serial;

use super::*;

/// Trust material of this version.
const fn mark(version: u64) -> TrustMark {
    TrustMark { version, files: 0 }
}

/// A machine with its two clocks.
struct Bench {
    machine: Machine,
    wall: u64,
    mono: Duration,
}

const BEGIN: u64 = 2_000_000_000;
const DUTIES: Duties = Duties { seed: 7, hooks: 0, deliveries: 0, probe: false, repeats: true, refresh: false };

impl Bench {
    fn new(hooks: usize, probe: bool) -> Self {
        Self::restored(hooks, probe, &Memory::default())
    }

    fn restored(hooks: usize, probe: bool, memory: &Memory) -> Self {
        Self::of(Duties { hooks, probe, ..DUTIES }, memory)
    }

    fn of(duties: Duties, memory: &Memory) -> Self {
        Self { machine: Machine::new(duties, memory), wall: BEGIN, mono: Duration::ZERO }
    }

    fn pass(&mut self, secs: u64) {
        self.wall += secs;
        self.mono += Duration::from_secs(secs);
    }

    fn now(&self) -> Moment {
        Moment { wall: UnixTime::from_secs(self.wall), mono: self.mono }
    }

    /// What is done, in words.
    fn tell(&mut self, input: Input) -> Vec<String> {
        let actions = self.machine.advance(input, self.now());
        actions
            .iter()
            .map(|action| match action {
                Action::Renew => "renew".to_owned(),
                Action::RunHook { hook, generation } => format!("hook {hook} of {generation}"),
                Action::Probe { generation } => format!("probe {generation}"),
                Action::Refresh => "refresh".to_owned(),
                Action::Remember => "remember".to_owned(),
                Action::Tell(Event::HealthChanged { health }) => health.as_str().to_owned(),
                Action::Tell(Event::Renewing { reason }) => format!("renewing: {}", reason.as_str()),
                Action::Tell(event) => event.name().to_owned(),
            })
            .filter(|word| word != "remember")
            .collect()
    }

    fn life(&self, number: u8, length: u64) -> Life {
        let issued = UnixTime::from_secs(self.wall);
        let serial = Serial::from_be_bytes(&[number]).unwrap();
        Life { serial, issued, not_after: issued.saturating_add(Duration::from_secs(length)) }
    }

    fn delivered(&mut self, number: u8, generation: u64) -> Vec<String> {
        let life = self.life(number, 3600);
        self.tell(Input::Delivered { life, generation, trust: Some(mark(1)) })
    }

    fn failed(&mut self) -> Vec<String> {
        self.failed_for(None)
    }

    fn failed_for(&mut self, after: Option<u64>) -> Vec<String> {
        let after = after.map(Duration::from_secs);
        self.tell(Input::Failed { step: Step::Issue, cause: "no".to_owned(), after })
    }

    fn hooked(&mut self, hook: usize, generation: u64, good: bool) -> Vec<String> {
        let result = if good { Ok(()) } else { Err("no".to_owned()) };
        self.tell(Input::Hooked { hook, generation, result })
    }

    fn probed(&mut self, generation: u64, served: u8) -> Vec<String> {
        self.tell(Input::Probed { generation, result: Ok(Serial::from_be_bytes(&[served]).unwrap()) })
    }

    fn found(&mut self, life: Option<Life>, generation: Option<u64>) -> Vec<String> {
        self.tell(Input::Found { life, generation, fault: None })
    }
}

#[test]
fn nothing_there_is_renewed_at_once() {
    let mut bench = Bench::new(0, false);
    assert_eq!(bench.found(None, None), ["red", "renewing: missing", "renew"]);
    assert_eq!(bench.tell(Input::Woke), [""; 0], "one renewal at a time");
    assert_eq!(bench.delivered(1, 1), ["renewed", "succeeded", "green"]);
    assert_eq!(bench.machine.last_success(), Some(UnixTime::from_secs(BEGIN)));
}

#[test]
fn what_has_expired_is_found_as_that() {
    let mut bench = Bench::new(0, false);
    let life = bench.life(1, 3600);
    bench.pass(3601);
    assert_eq!(bench.found(Some(life), Some(4)), ["found_expired", "red", "renewing: scheduled", "renew"]);
}

#[test]
fn what_is_good_is_kept_until_its_time_and_then_renewed_once() {
    let mut bench = Bench::new(0, false);
    let life = bench.life(1, 3600);
    assert_eq!(bench.found(Some(life), Some(4)), ["found"]);
    let due = bench.machine.renewal().unwrap();
    assert_eq!(bench.machine.wake(bench.now()).0, Some(due));
    bench.pass(due.as_secs() - BEGIN - 1);
    assert_eq!(bench.tell(Input::Woke), [""; 0]);
    bench.pass(1);
    assert_eq!(bench.tell(Input::Woke), ["renewing: scheduled", "renew"]);
    bench.pass(600);
    assert_eq!(bench.tell(Input::Woke), [""; 0]);
}

#[test]
fn failures_back_off_and_the_last_good_one_turns_amber_and_red() {
    let mut bench = Bench::new(0, false);
    let life = bench.life(1, 3600);
    bench.found(Some(life), Some(1));
    bench.pass(1800);
    assert_eq!(bench.tell(Input::Woke), ["renewing: scheduled", "renew"]);
    let (mut colours, mut attempts) = (Vec::new(), 0);
    let mut waits = Vec::new();
    while bench.wall < BEGIN + 4000 {
        let said = bench.failed();
        assert!(said.contains(&"renewal_failed".to_owned()), "{said:?}");
        colours.extend(said.into_iter().filter(|word| Health::Amber.as_str() == word || word == "red"));
        attempts += 1;
        let wait = bench.machine.retry_at().unwrap() - bench.mono;
        waits.push(wait);
        bench.wall += wait.as_secs() + 1;
        bench.mono += wait;
        let said = bench.tell(Input::Woke);
        assert_eq!(said.last().unwrap(), "renew", "{said:?}");
        colours.extend(said.into_iter().filter(|word| Health::Amber.as_str() == word || word == "red"));
    }
    assert_eq!(colours, ["amber", "red"]);
    assert_eq!(bench.machine.failures(), attempts);
    assert!(attempts < 150, "{attempts} attempts in 2200 s");
    assert!(waits[0] < Duration::from_millis(1201) && *waits.iter().max().unwrap() <= Duration::from_secs(180));
    assert!(bench.machine.life().is_some(), "the last good one is kept");
    assert_eq!(bench.delivered(2, 2), ["renewed", "succeeded", "green"]);
    assert_eq!(bench.machine.failures(), 0);
}

#[test]
fn hooks_run_in_order_and_the_probe_has_the_last_word() {
    let mut bench = Bench::new(2, true);
    bench.found(None, None);
    assert_eq!(bench.delivered(1, 1), ["renewed", "green", "hook 0 of 1"]);
    assert_eq!(bench.hooked(0, 1, true), ["hook_done", "hook 1 of 1"]);
    assert_eq!(bench.hooked(1, 1, true), ["hook_done", "probe 1"]);
    assert_eq!(bench.machine.last_success(), None, "not before the probe says so");
    assert_eq!(bench.probed(1, 9), ["served_serial_mismatch"]);
    assert_eq!(bench.machine.last_success(), None);
    bench.pass(2);
    assert_eq!(bench.tell(Input::Woke), ["probe 1"]);
    assert_eq!(bench.probed(1, 1), ["succeeded"]);
    assert!(bench.machine.last_success().is_some() && bench.machine.is_settled());
}

#[test]
fn while_the_consumer_keeps_serving_another_certificate_the_hooks_run_again_ever_more_seldom() {
    let mut bench = Bench::new(2, true);
    bench.found(None, None);
    bench.delivered(1, 1);
    bench.hooked(0, 1, true);
    assert_eq!(bench.hooked(1, 1, true), ["hook_done", "probe 1"]);
    let mut repeated = Vec::new();
    for mismatch in 1..200 {
        let said = bench.probed(1, 9);
        if said.contains(&"hooks_repeated".to_owned()) {
            repeated.push(mismatch);
            assert_eq!(said, ["served_serial_mismatch", "hooks_repeated", "hook 0 of 1"], "the probe comes after them");
            bench.mono += Duration::from_secs(200);
            assert_eq!(bench.hooked(0, 1, true), ["hook_done", "hook 1 of 1"]);
            assert_eq!(bench.hooked(1, 1, true), ["hook_done", "probe 1"]);
        } else {
            assert_eq!(said, ["served_serial_mismatch"]);
            bench.mono += Duration::from_secs(200);
            assert_eq!(bench.tell(Input::Woke), ["probe 1"]);
        }
        assert_eq!(bench.machine.duties().last().unwrap().repeats as usize, repeated.len());
    }
    assert_eq!(repeated, [3, 6, 12, 24, 48], "and not for ever");
    bench.tell(Input::Asked);
    assert_eq!(bench.delivered(2, 2), ["renewed", "hook 0 of 2"]);
    bench.hooked(0, 2, true);
    bench.hooked(1, 2, true);
    assert_eq!(bench.machine.duties().last().unwrap().repeats, 0);
    assert_eq!(bench.probed(2, 2), ["succeeded"]);
    // Without hooks there is nothing to run.
    let mut bare = Bench::new(0, true);
    bare.found(None, None);
    bare.delivered(1, 1);
    for _ in 0..10 {
        assert_eq!(bare.probed(1, 9), ["served_serial_mismatch"]);
        bare.mono += Duration::from_secs(200);
        bare.tell(Input::Woke);
    }
}

#[test]
fn a_hook_that_fails_is_tried_until_it_succeeds_and_holds_up_nobody() {
    let mut bench = Bench::new(2, false);
    bench.found(None, None);
    bench.delivered(1, 1);
    assert_eq!(bench.hooked(0, 1, false), ["hook_failed", "hook 1 of 1"]);
    assert_eq!(bench.hooked(1, 1, true), ["hook_done"]);
    for _ in 0..30 {
        bench.pass(200);
        let said = bench.tell(Input::Woke);
        assert!(said.contains(&"hook 0 of 1".to_owned()), "{said:?}");
        if bench.machine.is_renewing() {
            break;
        }
        assert_eq!(bench.hooked(0, 1, false), ["hook_failed"]);
    }
    assert_eq!(bench.hooked(0, 1, true), ["hook_done", "succeeded"]);
}

#[test]
fn a_result_for_an_earlier_generation_is_not_one_for_this() {
    let mut bench = Bench::new(1, true);
    bench.found(None, None);
    bench.delivered(1, 1);
    bench.tell(Input::Asked);
    assert_eq!(bench.delivered(2, 2), ["renewed", "hook 0 of 2"]);
    assert_eq!(bench.hooked(0, 1, true), [""; 0]);
    assert_eq!(bench.probed(1, 2), [""; 0]);
    assert_eq!(bench.hooked(0, 2, true), ["hook_done", "probe 2"]);
    assert_eq!(bench.probed(2, 2), ["succeeded"]);
}

#[test]
fn asking_renews_now_also_in_the_midst_of_a_wait() {
    let mut bench = Bench::new(0, false);
    let life = bench.life(1, 3600);
    bench.found(Some(life), Some(1));
    assert_eq!(bench.tell(Input::Asked), ["renewing: asked", "renew"]);
    for _ in 0..10 {
        bench.failed();
        bench.tell(Input::Asked);
    }
    assert!(bench.machine.is_renewing());
    bench.delivered(2, 2);
    assert_eq!(bench.tell(Input::Woke), [""; 0], "asked once, renewed once");
}

#[test]
fn a_jump_forward_renews_at_once_and_a_jump_back_waits_again() {
    let mut bench = Bench::new(0, false);
    let life = bench.life(1, 3600);
    bench.found(Some(life), Some(1));
    bench.wall += 86_400;
    assert_eq!(bench.tell(Input::Replan), ["red", "renewing: scheduled", "renew"]);
    assert_eq!(bench.failed(), ["renewal_failed"]);
    bench.wall -= 86_400;
    assert_eq!(bench.tell(Input::Replan), ["green"], "its time has not come after all");
    assert!(!bench.machine.is_renewing() && bench.machine.retry_at().is_none());
    bench.wall -= 86_400;
    let said = bench.tell(Input::Replan);
    assert_eq!(said, ["red", "renewing: future", "renew"], "a certificate from the future helps nobody");
    assert_eq!(bench.delivered(2, 2), ["renewed", "succeeded", "green"]);
    assert_eq!(bench.tell(Input::Woke), [""; 0]);
}

#[test]
fn a_certificate_that_a_wrong_clock_dated_ahead_is_renewed_once_the_clock_is_right() {
    let mut bench = Bench::new(0, false);
    bench.wall += 86_400;
    let ahead = bench.life(1, 3600);
    bench.wall -= 86_400;
    assert_eq!(bench.found(Some(ahead), Some(1)), ["found", "red", "renewing: future", "renew"]);
    bench.failed();
    let wait = bench.machine.retry_at().unwrap();
    assert!(wait <= Duration::from_millis(1200), "it is not waited for tomorrow: {wait:?}");
    // A minute of disagreement between two clocks is none.
    let mut bench = Bench::new(0, false);
    let mut near = bench.life(2, 3600);
    near.issued = near.issued.saturating_add(Duration::from_secs(59));
    assert_eq!(bench.found(Some(near), Some(1)), ["found"]);
}

#[test]
fn an_issuer_that_asks_to_be_left_alone_is_within_bounds() {
    let mut bench = Bench::new(0, false);
    bench.found(Some(bench.life(1, 86_400)), Some(1));
    for (asked, least, most) in [(600, 600, 721), (0, 0, 180), (1_000_000, 3600, 3601)] {
        bench.tell(Input::Asked);
        bench.failed_for(Some(asked));
        let wait = (bench.machine.retry_at().unwrap() - bench.mono).as_secs();
        assert!((least..=most).contains(&wait), "{asked}: {wait}");
    }
    bench.pass(86_000);
    bench.tell(Input::Asked);
    bench.failed_for(Some(3600));
    let wait = bench.machine.retry_at().unwrap() - bench.mono;
    assert!(wait <= Duration::from_secs(100), "400 s are left of its life: {wait:?}");
}

#[test]
fn other_trust_material_is_carried_on_by_the_hooks_that_have_to_do_with_it() {
    let mut bench = Bench::new(3, false);
    let moved = || Input::TrustMoved { trust: mark(2), hooks: vec![0, 2] };
    bench.found(None, None);
    assert_eq!(bench.delivered(1, 1).last().unwrap(), "hook 0 of 1");
    assert_eq!(bench.tell(moved()), [""; 0], "it runs, and the others wait");
    assert_eq!(bench.hooked(0, 1, true), ["hook_done", "hook 0 of 1"], "what ran may have read what was before");
    assert_eq!(bench.hooked(0, 1, true), ["hook_done", "hook 1 of 1"]);
    bench.hooked(1, 1, true);
    assert_eq!(bench.hooked(2, 1, true), ["hook_done", "succeeded"]);
    assert_eq!(bench.tell(moved()), ["hook 0 of 1"]);
    let (life, memory) = (bench.machine.life().cloned(), bench.machine.memory());
    assert_eq!(bench.hooked(0, 1, true), ["hook_done", "hook 2 of 1"]);
    assert_eq!(bench.hooked(2, 1, true), ["hook_done"], "the rotation had succeeded");
    let mut killed = Bench::restored(3, false, &memory);
    assert_eq!(killed.found(life, Some(1)), ["found", "hook 0 of 1"], "it goes on after a restart");
}

#[test]
fn a_replan_cuts_every_wait_short() {
    let mut bench = Bench::new(1, false);
    bench.found(None, None);
    bench.delivered(1, 1);
    for _ in 0..8 {
        bench.hooked(0, 1, false);
        bench.pass(200);
        bench.tell(Input::Woke);
    }
    bench.hooked(0, 1, false);
    assert_eq!(bench.tell(Input::Replan), ["hook 0 of 1"]);
}

#[test]
fn files_changed_by_hand_are_noticed_and_mended() {
    let mut bench = Bench::new(0, false);
    let life = bench.life(1, 3600);
    bench.found(Some(life.clone()), Some(1));
    assert_eq!(bench.found(Some(life), Some(1)), [""; 0], "nothing changed");
    assert_eq!(bench.found(None, None), ["changed_by_hand", "red", "renewing: missing", "renew"]);
    bench.delivered(2, 2);
    let other = bench.life(3, 3600);
    assert_eq!(bench.found(Some(other), Some(3)), ["changed_by_hand"]);
}

#[test]
fn a_restart_goes_on_where_the_process_was_killed() {
    let mut bench = Bench::new(2, true);
    bench.found(None, None);
    bench.delivered(1, 1);
    bench.hooked(0, 1, true);
    let memory = bench.machine.memory();
    let life = bench.machine.life().cloned();
    let mut again = Bench::restored(2, true, &memory);
    assert_eq!(again.found(life.clone(), Some(1)), ["found", "hook 1 of 1"], "the first is done");
    again.hooked(1, 1, true);
    again.probed(1, 1);
    let mut settled = Bench::restored(2, true, &again.machine.memory());
    assert_eq!(settled.found(life.clone(), Some(1)), ["found"], "everything is done");
    let mut killed_before_remembering = Bench::restored(2, true, &again.machine.memory());
    assert_eq!(killed_before_remembering.found(life, Some(2)), ["found", "hook 0 of 2"]);
}

#[test]
fn a_window_is_asked_for_and_moves_the_renewal() {
    let mut bench = Bench::of(Duties { refresh: true, ..DUTIES }, &Memory::default());
    let life = bench.life(1, 3600);
    bench.found(Some(life.clone()), Some(1));
    bench.pass(60);
    assert_eq!(bench.tell(Input::Woke), ["refresh"]);
    assert_eq!(bench.tell(Input::Woke), [""; 0], "asked once");
    let window = Window { start: life.issued, end: life.issued.saturating_add(Duration::from_secs(300)) };
    let again = Duration::from_secs(600);
    assert_eq!(bench.tell(Input::Windowed { window: Some(window), again }), ["window_changed"]);
    bench.pass(310);
    assert_eq!(bench.tell(Input::Woke), ["renewing: scheduled", "renew"], "no earlier than a tenth of its life");
    bench.pass(400);
    assert_eq!(bench.tell(Input::Woke), ["refresh"]);
}

#[test]
fn a_window_that_recedes_each_time_it_is_asked_for_is_not_followed() {
    let mut bench = Bench::of(Duties { refresh: true, ..DUTIES }, &Memory::default());
    bench.found(Some(bench.life(1, 3600)), Some(1));
    bench.pass(500);
    let again = Duration::from_secs(180);
    let hurry =
        |bench: &Bench| Window { start: UnixTime::from_secs(bench.wall), end: UnixTime::from_secs(bench.wall + 600) };
    let window = hurry(&bench);
    assert_eq!(bench.tell(Input::Windowed { window: Some(window), again }), ["window_changed"]);
    let chosen = bench.machine.renewal().unwrap();
    for _ in 0..3 {
        bench.pass(60);
        let window = hurry(&bench);
        assert_eq!(bench.tell(Input::Windowed { window: Some(window), again }), [""; 0]);
        assert_eq!(bench.machine.renewal(), Some(chosen));
    }
}

/// Whatever is told in whatever order: one renewal at a time, and never a wait without an end.
#[test]
fn no_order_of_inputs_wedges_the_machine() {
    let mut state = 1_u64;
    let mut roll = move |sides: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % sides
    };
    for round in 0..300 {
        let duties = Duties { hooks: 2, deliveries: round % 3, probe: true, ..DUTIES };
        let mut bench = Bench::of(duties, &Memory::default());
        bench.found(None, None);
        let mut generation = 0;
        for _ in 0..200 {
            bench.pass(roll(400));
            let renewing = bench.machine.is_renewing();
            let said = match roll(9) {
                0 => bench.tell(Input::Asked),
                1 => bench.tell(Input::Replan),
                2 if renewing => bench.failed(),
                3 if renewing => {
                    generation += 1;
                    bench.delivered((generation % 250 + 1) as u8, generation)
                }
                4 => bench.hooked(roll(2) as usize, generation, roll(2) == 0),
                5 => bench.probed(generation, (generation % 250 + 1) as u8),
                6 => {
                    bench.wall -= roll(5000);
                    bench.tell(Input::Replan)
                }
                _ => bench.tell(Input::Woke),
            };
            let renewals = said.iter().filter(|word| *word == "renew").count();
            assert!(renewals <= 1 && (renewals == 0 || !renewing || said.len() > 1), "{round}: {said:?}");
            let (wall, mono) = bench.machine.wake(bench.now());
            let waits = wall.is_some() || mono.is_some();
            assert!(waits || !bench.machine.is_settled(), "{round}: nobody will wake it");
        }
    }
}
