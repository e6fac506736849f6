//! The verifiers beside mathematics, each through the settings that a recipe gives.

use super::{Checker, Verdict, Verifier};
use crate::Error;

fn checker(settings: &str) -> Checker {
    serde_json::from_str::<Verifier>(settings).unwrap().checker().unwrap()
}

fn check(settings: &str, cases: &[(&str, &str, Verdict)]) {
    let checker = checker(settings);
    for (answer, gold, expected) in cases {
        assert_eq!(checker.verdict(answer, gold).unwrap(), *expected, "{answer} for {gold}");
    }
}

#[test]
fn maths_compares_values() {
    check(
        r#"{"kind": "maths"}"#,
        &[(r"so \boxed{\frac12}", "0.5", Verdict::Right), (r"so \boxed{\frac13}", "0.5", Verdict::Wrong)],
    );
}

/// What programs write where a number is missing or out of range; an infinity that was written down on purpose is one.
#[test]
fn a_gold_that_is_no_number_leaves_an_answer_undecided() {
    for gold in ["NaN", "nan", "Infinity", "-Infinity", "inf", "-inf", " +INF ", "$nan$", "#### nan"] {
        for settings in [r#"{"kind": "maths"}"#, r#"{"kind": "numeric", "relative": 0.01}"#] {
            if gold.starts_with('#') && settings.contains("numeric") {
                continue;
            }
            check(
                settings,
                &[(r"\boxed{5}", gold, Verdict::Undecided), ("The answer is 1/2.", gold, Verdict::Undecided)],
            );
        }
    }
    check(r#"{"kind": "numeric", "relative": 0.01}"#, &[(r"\boxed{5}", r"\infty", Verdict::Undecided)]);
    check(
        r#"{"kind": "maths"}"#,
        &[
            (r"\boxed{5}", r"\infty", Verdict::Wrong),
            (r"\boxed{\infty}", r"\infty", Verdict::Right),
            (r"\boxed{5}", "6", Verdict::Wrong),
        ],
    );
}

#[test]
fn choice_takes_the_letter_that_an_answer_settles_on() {
    check(
        r#"{"kind": "choice", "letters": "ABCD"}"#,
        &[
            ("The answer is (B).", "B", Verdict::Right),
            ("**B**", "B", Verdict::Right),
            (r"\boxed{\text{(b)}}", "B", Verdict::Right),
            ("(A) is wrong, (C) is wrong.\nSo the answer is B: it floats.", "B) it floats", Verdict::Right),
            ("Answer: C", "B", Verdict::Wrong),
            ("A student would say so.", "A", Verdict::NoAnswer),
            ("A. The student", "A", Verdict::Right),
            ("I choose option D", "D", Verdict::Right),
            ("E", "D", Verdict::NoAnswer),
            ("B", "7", Verdict::Undecided),
            ("The answer is A or B.", "A", Verdict::Undecided),
            ("The answer is (A) or (B).", "B", Verdict::Undecided),
            ("\\boxed{A, C}", "A", Verdict::Undecided),
            ("The answer is A, and I am sure.", "A", Verdict::Right),
            ("(A) is wrong, (B) fits", "A", Verdict::Undecided),
            ("", "B", Verdict::NoAnswer),
        ],
    );
}

#[test]
fn exact_compares_letter_by_letter_but_for_spaces() {
    check(
        r#"{"kind": "exact"}"#,
        &[
            ("sdnoces", "sdnoces", Verdict::Right),
            ("The answer is  two\twords.", "two words", Verdict::Right),
            ("Wednesday", "wednesday", Verdict::Wrong),
            (" \n", "x", Verdict::NoAnswer),
        ],
    );
    check(r#"{"kind": "exact", "ignore_case": true}"#, &[("Wednesday", "wednesday", Verdict::Right)]);
}

#[test]
fn regex_takes_the_last_match() {
    check(
        r#"{"kind": "regex", "pattern": "result=(\\w+)"}"#,
        &[
            ("result=1 result=2", "2", Verdict::Right),
            ("result=2 result=1", "2", Verdict::Wrong),
            ("2", "2", Verdict::NoAnswer),
        ],
    );
    check(r#"{"kind": "regex", "pattern": "\\d+"}"#, &[("1 and 22", "22", Verdict::Right)]);
}

#[test]
fn numeric_allows_its_tolerances() {
    check(
        r#"{"kind": "numeric", "relative": 0.01}"#,
        &[
            (r"\boxed{100.9}", "100", Verdict::Right),
            (r"\boxed{101.1}", "100", Verdict::Wrong),
            (r"about \boxed{\frac{201}{2}}", "100", Verdict::Right),
            ("The answer is 99.5 kg", "100", Verdict::Right),
            (r"\boxed{x}", "100", Verdict::Undecided),
            (r"\boxed{101}", "100", Verdict::Right),
            ("none", "100", Verdict::NoAnswer),
        ],
    );
    check(
        r#"{"kind": "numeric"}"#,
        &[("100000000000000000007", "100000000000000000000", Verdict::Wrong), ("10^{20}", "1e20", Verdict::Right)],
    );
    check(r#"{"kind": "numeric", "absolute": 0.5}"#, &[("0.4", "0", Verdict::Right), ("0.6", "0", Verdict::Wrong)]);
}

#[test]
fn json_compares_values_without_the_order_of_keys() {
    check(
        r#"{"kind": "json"}"#,
        &[
            (r#"{"b": [1, 2.0], "a": null}"#, r#"{"a": null, "b": [1.0, 2]}"#, Verdict::Right),
            ("Here:\n```json\n{\"a\": 1}\n```\nDone.", r#"{"a": 1}"#, Verdict::Right),
            (r#"I think {"a": [1, 2]} fits."#, r#"{"a": [2, 1]}"#, Verdict::Wrong),
            (r#"{"a": 1, "b": 2}"#, r#"{"a": 1}"#, Verdict::Wrong),
            (r#"{"n": 9007199254740993}"#, r#"{"n": 9007199254740992}"#, Verdict::Wrong),
            (r#"{"n": 100000000000000000007}"#, r#"{"n": 1e20}"#, Verdict::Undecided),
            (r#"{"n": 100000000000000000007}"#, r#"{"n": 1e21}"#, Verdict::Wrong),
            (r#"{"n": 1e2}"#, r#"{"n": 100}"#, Verdict::Right),
            ("no json", r#"{"a": 1}"#, Verdict::NoAnswer),
            ("{}", "no json", Verdict::Undecided),
            (&"[".repeat(100_000), "[]", Verdict::NoAnswer),
        ],
    );
}

#[cfg(unix)]
fn command(script: &str, timeout_ms: u64) -> Checker {
    let argv = ["sh", "-c", script].map(str::to_string).to_vec();
    Verifier::Command { argv, timeout_ms }.checker().unwrap()
}

#[cfg(unix)]
#[test]
fn a_command_answers_row_by_row() {
    let script = r#"while read -r row; do case $row in
        *yes*) echo '{"correct": true}';; *no*) echo '{"correct": false}';; *) echo '{"correct": null}';; esac; done"#;
    let checker = command(script, 20_000);
    // More than a pipe holds, and what a shell would act on.
    let long = "yes".repeat(100_000);
    for (answer, expected) in [
        ("yes", Verdict::Right),
        ("no", Verdict::Wrong),
        ("what", Verdict::Undecided),
        ("$(touch yes) `id`; rm -rf \"\n\u{1b}[31m", Verdict::Right),
        (long.as_str(), Verdict::Right),
    ] {
        assert_eq!(checker.verdict(answer, "gold").unwrap(), expected);
    }
}

#[cfg(unix)]
#[test]
fn a_command_that_fails_leaves_the_row_undecided_and_is_started_again() {
    // Rows that say "hang" are never answered, "die" ends the program, "talk" gets no JSON, "flood" a line without end.
    let script = r#"while read -r row; do case $row in
        *hang*) exec sleep 600;; *die*) exit 3;; *talk*) echo hello;; *flood*) exec cat /dev/zero;;
        *) echo '{"correct": true}';; esac; done"#;
    assert_eq!(command(script, 200).verdict("hang", "gold").unwrap(), Verdict::Undecided);
    let checker = command(script, 60_000);
    for answer in ["die", "talk", "flood"] {
        assert_eq!(checker.verdict(answer, "gold").unwrap(), Verdict::Undecided, "{answer}");
        assert_eq!(checker.verdict("fine", "gold").unwrap(), Verdict::Right, "after {answer}");
    }
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    for settings in [
        r#"{"kind": "regex", "pattern": "("}"#,
        r#"{"kind": "numeric", "relative": -1}"#,
        r#"{"kind": "choice", "letters": "A"}"#,
        r#"{"kind": "command", "argv": []}"#,
        r#"{"kind": "command", "argv": ["true"], "timeout_ms": 0}"#,
    ] {
        let refused = serde_json::from_str::<Verifier>(settings).unwrap().checker();
        assert!(matches!(refused, Err(Error::Verifier { .. })), "{settings}");
    }
    assert!(serde_json::from_str::<Verifier>(r#"{"kind": "maths", "extra": 1}"#).is_err());
    let absent = r#"{"kind": "command", "argv": ["/nowhere/verifier"]}"#;
    let refused = checker(absent).verdict("1", "1");
    assert!(matches!(refused, Err(Error::VerifierCommand { .. })));
}

/// What the question asks for decides what a number without its percent sign is.
#[test]
fn a_percentage_may_lack_its_sign_where_one_was_asked_for() {
    let asked = Some("What percent of 40 is 10?");
    let given = Some("What is 20 percent of 125?");
    let numbers = |question: Option<&str>, [answer, gold]: [&str; 2]| {
        let verdict = |checker: &Checker| checker.verdict_among(answer, gold, question, None).unwrap();
        (verdict(&checker(r#"{"kind": "maths"}"#)), verdict(&checker(r#"{"kind": "maths", "unit": "%"}"#)))
    };
    use Verdict::{Right, Undecided, Wrong};
    for (question, pair, plain, demanded) in [
        (asked, ["25%", "25"], Right, Right),
        (asked, [r"So it is $\boxed{25\%}$.", "#### 25"], Right, Right),
        (asked, ["25", "25%"], Right, Right),
        (asked, ["0.25", "25%"], Right, Right),
        (asked, ["26%", "25"], Wrong, Wrong),
        (given, ["25%", "25"], Undecided, Right),
        (given, ["0.25", "25%"], Right, Right),
        (None, ["25%", "25"], Undecided, Right),
        (None, ["0.25", "25%"], Right, Right),
    ] {
        assert_eq!(numbers(question, pair), (plain, demanded), "{question:?} {pair:?}");
    }
    let number = checker(r#"{"kind": "maths", "unit": "1"}"#);
    assert_eq!(number.verdict_among("25%", "25", asked, None).unwrap(), Wrong);
}

/// The document's own program, if there is a Python to run it.
#[cfg(unix)]
#[test]
fn the_program_in_the_document_answers_as_it_says() {
    let document = include_str!("../../../docs/VERIFIERS.md");
    let (_, program) = document.split_once("```python\n").unwrap();
    let (program, _) = program.split_once("```").unwrap();
    if std::process::Command::new("python3").arg("--version").output().is_err() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("check.py");
    std::fs::write(&path, program).unwrap();
    let argv = vec!["python3".to_string(), path.display().to_string()];
    let checker = Verifier::Command { argv, timeout_ms: 60_000 }.checker().unwrap();
    for (answer, gold, verdict) in [
        ("So:\nblue Red  green", "red green blue", Verdict::Right),
        ("blue red", "red green blue", Verdict::Wrong),
        ("", "red", Verdict::Wrong),
        ("red", "", Verdict::Undecided),
        ("\"rot\"\n\u{2028}Grün", "grün", Verdict::Right),
    ] {
        assert_eq!(checker.verdict(answer, gold).unwrap(), verdict, "{answer:?}");
    }
}

/// What the document says of the protocol's lines.
#[cfg(unix)]
#[test]
fn a_command_reads_one_line_and_is_understood_by_its_first_member() {
    let script = r#"read -r row; case $row in '{"answer":"a\nb","gold":"[1, 2]"}') echo '{"correct": true, "why": 1}';; esac
        read -r row; echo '{"other": 1}'; read -r row; echo '[true]'; read -r row; read -r row"#;
    let checker = command(script, 60_000);
    let verdicts = [checker.verdict("a\nb", "[1, 2]"), checker.verdict("a", "b"), checker.verdict("a", "b")];
    assert_eq!(verdicts.map(Result::unwrap), [Verdict::Right, Verdict::Undecided, Verdict::Undecided]);
}
