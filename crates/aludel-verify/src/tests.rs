//! The verifiers beside mathematics, each through the settings that a recipe gives.

use super::{Checker, Options, Verdict, Verifier};
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

/// By default, and by the question alone: own data names no verifier.
#[test]
fn what_the_question_asks_for_decides_beside_the_value() {
    use Verdict::{NoAnswer, Right, Undecided, Wrong};
    let maths = checker(r#"{"kind": "maths"}"#);
    let restates = Some("it only restates the question");
    let evaluate = Some("it was to be evaluated");
    let reduce = Some("it was to be in lowest terms");
    for (question, answer, gold, verdict, unmet) in [
        (r"Evaluate $\dbinom{5}{3}$", r"\boxed{\dbinom{5}{3}}", "10", Wrong, restates),
        (r"Evaluate $\dbinom{5}{3}$", r"\boxed{10}", "10", Right, None),
        (r"Evaluate $\dbinom{5}{3}$", r"\boxed{\dbinom{5}{3} = 10}", "10", Right, None),
        (r"Evaluate $\dbinom{5}{3}$", r"\boxed{\frac{5!}{3!2!}}", "10", Undecided, evaluate),
        (r"Evaluate $\dbinom{5}{3}$", r"\boxed{11}", "10", Wrong, None),
        ("What is 5+5?", "5+5", "10", Wrong, restates),
        ("What is 5+5?", "The answer is 5+5.", "#### 10", Wrong, restates),
        ("What is 5+5?", "5+5 = 10", "10", Right, None),
        ("What is the sum of 5 and 5?", "The answer is 5+5.", "10", Undecided, evaluate),
        ("Reduce 18/15.", "18/15 cannot be reduced", "6/5", Wrong, reduce),
        ("Reduce 18/15.", "18/15", "6/5", Wrong, restates),
        ("Reduce the fraction 18/15.", r"\boxed{36/30}", "6/5", Wrong, reduce),
        ("Reduce the fraction 18/15.", r"\boxed{\frac65}", "6/5", Right, None),
        ("What is 3/5 + 3/5 in lowest terms?", r"\boxed{\frac{18}{15}}", "6/5", Wrong, reduce),
        ("What is 3/5 + 3/5 in lowest terms?", r"\boxed{1.2}", "6/5", Right, None),
        ("What is 3/5 + 3/5 in lowest terms?", r"\boxed{18/15 = 6/5}", "6/5", Right, None),
        ("What is 3/5 + 3/5 in lowest terms?", r"\boxed{18/15}", "18/15", Right, None),
        ("What is 3/5 + 3/5?", r"\boxed{\frac{18}{15}}", "6/5", Right, None),
        (
            "List the primes below 4 in ascending order.",
            r"\boxed{3, 2}",
            "2, 3",
            Wrong,
            Some("it was to be in ascending order"),
        ),
        ("Reduce 18/15.", "It cannot be done.", "6/5", NoAnswer, None),
    ] {
        let question = Some(question);
        let found = maths.verdict_among(answer, gold, question, None).unwrap();
        assert_eq!((found, maths.unmet(answer, gold, question).as_deref()), (verdict, unmet), "{question:?} {answer}");
    }
    // Without the question a calculation is none that restates it.
    check(r#"{"kind": "maths"}"#, &[("5+5", "10", Undecided), ("10", "10", Right), ("2^{10}", "2^{10}", Right)]);
    check(r#"{"kind": "numeric"}"#, &[("5+5", "10", Undecided), ("5+5", "11", Wrong), ("5+5 = 10", "10", Right)]);
}

/// An option that has the value of a calculation does not make it an answer.
#[test]
fn options_do_not_make_up_for_what_is_unmet() {
    let maths = checker(r#"{"kind": "maths"}"#);
    let options = Options::new(["5+5", "12"].map(str::to_string).to_vec());
    let among =
        |options: Option<&Options>| maths.verdict_among(r"\boxed{5+5}", "10", Some("How many?"), options).unwrap();
    assert_eq!((among(None), among(options.as_ref())), (Verdict::Undecided, Verdict::Undecided));
    assert_eq!(maths.verdict_among(r"\boxed{5+5}", "A", Some("How many?"), options.as_ref()).unwrap(), Verdict::Right);
}

/// Only what is marked as final counts, and nothing that the cut may have shortened.
#[test]
fn what_a_text_that_was_cut_off_settles_on() {
    let maths = r#"{"kind": "maths"}"#;
    for (settings, text, settled) in [
        (maths, r"So it is \boxed{42}", true),
        (maths, r"So it is \boxed{42}. Let me check: 6 × 7 = 4", true),
        (maths, r"\boxed{1} and \boxed{2}", true),
        (maths, r"So it is \boxed{4", false),
        (maths, r"So it is \boxed{42}. No, it is \boxed{4", false),
        (maths, "#### 42\n", true),
        (maths, "#### 42", false),
        (maths, "The answer is 42. Let me check: 6 × 7 = 4", true),
        (maths, "The answer is **42**", true),
        (maths, "The answer is $42$", true),
        (maths, "The answer is 42", false),
        (maths, "The answer is 42.", false),
        (maths, "<answer>42</answer>", true),
        (maths, "<answer>42", false),
        (maths, "6 × 7 = 42. And 8 × 7 = 56, so", false),
        (maths, "$42$ is it", false),
        (maths, "", false),
        (r#"{"kind": "numeric"}"#, "6 × 7 = 42, so", false),
        (r#"{"kind": "numeric"}"#, r"\boxed{42}", true),
        (r#"{"kind": "choice"}"#, "(A) floats.\nSo (B)", false),
        (r#"{"kind": "choice"}"#, "The answer is (B). It", true),
        (r#"{"kind": "exact"}"#, "Paris", false),
        (r#"{"kind": "exact"}"#, "The answer is Paris.\nIt", true),
        (r#"{"kind": "regex", "pattern": "result=(\\w+)"}"#, "result=4", false),
        (r#"{"kind": "regex", "pattern": "result=(\\w+)"}"#, "result=42\n", true),
        (r#"{"kind": "regex", "pattern": "result=(\\w+)"}"#, "nothing", false),
        (r#"{"kind": "json"}"#, r#"{"a": 1}"#, true),
        (r#"{"kind": "json"}"#, r#"{"a": 1"#, false),
        (r#"{"kind": "json"}"#, "4", false),
        (r#"{"kind": "command", "argv": ["true"]}"#, "anything", true),
    ] {
        assert_eq!(checker(settings).is_settled(text), settled, "{settings} {text}");
    }
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
