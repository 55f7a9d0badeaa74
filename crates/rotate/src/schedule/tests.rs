use super::*;

fn serial(number: u64) -> Serial {
    Serial::from_be_bytes(&[&[1][..], &number.to_be_bytes()].concat()).unwrap()
}

fn life(number: u64, length: u64) -> Life {
    let issued = UnixTime::from_secs(2_000_000_000);
    Life { serial: serial(number), issued, not_after: issued.saturating_add(Duration::from_secs(length)) }
}

fn at(life: &Life, window: Option<Window>) -> u64 {
    renewal(life, Roll::of(&life.serial), window).duration_since(life.issued).as_secs()
}

const LENGTHS: [u64; 9] = [5, 30, 300, 900, 3600, 43_200, 86_400, 86_401, 31_536_000];

#[test]
fn every_renewal_lies_in_the_tenth_before_its_share() {
    for length in LENGTHS {
        for number in 0..2000 {
            let at = at(&life(number, length), None);
            let latest = if length <= 86_400 { length / 2 } else { length * 66 / 100 };
            let earliest = latest.saturating_sub(length / 10 + 1);
            assert!((earliest..=latest).contains(&at), "{number}: {at} of {length}");
        }
    }
}

#[test]
fn ten_thousand_credentials_use_the_whole_tenth_evenly() {
    // 1 h: 360 s to spread over, 10,000 credentials issued in the same second.
    let mut seconds = [0_u32; 361];
    for number in 0..10_000 {
        seconds[(at(&life(number, 3600), None) - 1440) as usize] += 1;
    }
    let busiest = seconds.iter().max().unwrap();
    assert!(*busiest < 70, "{busiest} renewals in one second, where 28 are the mean");
    for minute in seconds[..360].chunks(60) {
        let count: u32 = minute.iter().sum();
        assert!((1400..=1950).contains(&count), "{count} renewals in one minute, where 1667 are the mean");
    }
}

#[test]
fn serials_that_follow_each_other_are_not_renewed_together() {
    let together = (0..10_000).filter(|&n| at(&life(n, 3600), None) == at(&life(n + 1, 3600), None)).count();
    assert!(together < 100, "{together} neighbours in the same second, where 28 are the mean");
}

#[test]
fn a_serial_keeps_its_roll() {
    for number in 0..1000 {
        let roll = Roll::of(&serial(number));
        assert_eq!(roll, Roll::of(&serial(number)));
        assert_eq!(Roll::from_bits(roll.bits()), roll);
    }
}

#[test]
fn a_window_moves_the_renewal_and_spreads_it_within_itself() {
    let base = life(0, 3600).issued;
    let window = Window {
        start: base.saturating_add(Duration::from_secs(1000)),
        end: base.saturating_add(Duration::from_secs(1600)),
    };
    let times: Vec<u64> = (0..2000).map(|number| at(&life(number, 3600), Some(window))).collect();
    assert!(times.iter().all(|at| (1000..=1600).contains(at)));
    assert!(times.iter().filter(|at| **at < 1300).count().abs_diff(1000) < 150);
}

#[test]
fn a_window_that_has_passed_means_now_but_never_twice_within_a_tenth() {
    let life = life(7, 3600);
    let past = |from: i64, to: i64| Window {
        start: UnixTime::from_secs(life.issued.as_secs().saturating_add_signed(from)),
        end: UnixTime::from_secs(life.issued.as_secs().saturating_add_signed(to)),
    };
    assert_eq!(at(&life, Some(past(-600, 10))), 360, "no earlier than a tenth of its life");
    let plain = at(&life, None);
    assert_eq!(at(&life, Some(past(-600, 0))), plain, "older than the certificate: not meant for it");
    assert_eq!(at(&life, Some(past(50, 40))), plain, "ends before it starts: none");
}

#[test]
fn a_window_cannot_put_a_renewal_off_beyond_the_share() {
    let life = life(7, 3600);
    let late = Window { start: life.not_after, end: life.not_after.saturating_add(Duration::from_secs(9)) };
    assert_eq!(at(&life, Some(late)), 1800);
}

#[test]
fn health_turns_amber_at_three_quarters_and_red_at_nine_tenths() {
    let life = life(1, 1000);
    let health = |after: u64| Health::of(Some(&life), life.issued.saturating_add(Duration::from_secs(after)));
    for (after, wanted) in [
        (0, Health::Green),
        (749, Health::Green),
        (750, Health::Amber),
        (899, Health::Amber),
        (900, Health::Red),
        (1000, Health::Red),
        (1001, Health::Red),
        (100_000, Health::Red),
    ] {
        assert_eq!(health(after), wanted, "after {after} s");
    }
    assert_eq!(Health::of(None, life.issued), Health::Red);
    let yesterday = life.issued.saturating_sub(DAY);
    assert_eq!(Health::of(Some(&life), yesterday), Health::Red, "a clock that is a day late");
}

#[test]
fn the_next_change_of_colour_is_when_the_colour_changes() {
    for length in LENGTHS {
        let life = life(3, length);
        let mut now = life.issued;
        let mut seen = vec![Health::of(Some(&life), now)];
        while let Some(next) = Health::next_change(&life, now) {
            let before = UnixTime::from_secs(next.as_secs() - 1);
            if before >= now {
                assert_eq!(Health::of(Some(&life), before), *seen.last().unwrap(), "{length}");
            }
            seen.push(Health::of(Some(&life), next));
            now = next;
        }
        seen.dedup();
        assert_eq!(seen, [Health::Green, Health::Amber, Health::Red], "{length}");
    }
}

#[test]
fn the_clock_is_looked_at_every_hundredth_of_a_life_and_every_30_seconds_at_least() {
    let every = |secs| check_every(Duration::from_secs(secs));
    assert_eq!(every(300), Duration::from_secs(3));
    assert_eq!(every(3600), Duration::from_secs(30));
    assert_eq!(every(31_536_000), Duration::from_secs(30));
    assert_eq!(every(30), Duration::from_millis(300));
    assert_eq!(every(5), Duration::from_millis(200));
}

#[test]
fn retries_double_to_the_limit_and_never_agree() {
    let long = Duration::from_secs(86_400);
    for failures in 1..200 {
        let nominal = Duration::from_secs(1 << (failures - 1).min(7)).min(Duration::from_secs(150)).as_secs_f64();
        let mut waits: Vec<Duration> =
            (0..1000).map(|n| retry_after(failures, seed(serial(n).as_bytes()), long)).collect();
        assert!(waits.iter().all(|wait| {
            let share = wait.as_secs_f64() / nominal.min(150.0);
            (0.799..=1.201).contains(&share) || nominal == 128.0
        }));
        waits.sort_unstable();
        waits.dedup();
        assert!(waits.len() > 300, "{} different waits", waits.len());
    }
}

#[test]
fn retries_come_closer_together_as_the_end_comes_near() {
    let wait = |remaining| retry_after(40, 1, Duration::from_secs(remaining)).as_secs_f64();
    assert!((120.0..=180.0).contains(&wait(86_400)));
    assert!((40.0..=60.0).contains(&wait(1000)));
    assert!((0.8..=1.2).contains(&wait(10)), "never faster than a second");
    assert!((0.8..=1.2).contains(&wait(15)), "half of the shortest life is fifteen tries");
    assert!((120.0..=180.0).contains(&wait(0)), "what has expired does not hammer");
}

#[test]
fn a_life_is_counted_from_issuance() {
    let ca = countermark_testkit::TestCa::new("agents.internal");
    let credential = ca.agent("billing-bot");
    let leaf = credential.leaf();
    let reckoned = Life::of(leaf, None);
    assert_eq!(reckoned.issued, leaf.not_before().saturating_add(Duration::from_secs(60)));
    assert_eq!(reckoned.length(), Duration::from_secs(3600));
    let seen = leaf.not_before().saturating_add(Duration::from_secs(20));
    assert_eq!(Life::of(leaf, Some(seen)).issued, seen);
    let nonsense = leaf.not_after().saturating_add(Duration::from_secs(20));
    assert_eq!(Life::of(leaf, Some(nonsense)).issued, reckoned.issued, "a remembered time that cannot be");
}
