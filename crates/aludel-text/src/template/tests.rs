//! Compares small templates with Jinja2 (fixture by tools/golden/text/make_jinja.py): the same text, or a refusal that
//! names what is unknown.

use std::path::Path;

use serde_json::{Map, Value};

use super::{ChatTemplate, Date, TemplateContext, TemplateMessage};

#[derive(serde::Deserialize)]
struct Fixture {
    variables: Map<String, Value>,
    cases: Map<String, Value>,
}

/// How a refusal names what it is about.
const NAMED: [&str; 6] =
    ["`", "not iterable", "cannot be printed", "not known here", "cannot be gone through", "reserved variable"];

fn render(source: &str, variables: &Map<String, Value>) -> Result<String, String> {
    let template = ChatTemplate::new(source, Some("<s>"), Some("</s>")).map_err(|error| error.to_string())?;
    let message = TemplateMessage::new("user", "hi".to_owned(), None);
    let date = Some(Date { year: 2026, month: 1, day: 1 });
    let surroundings = TemplateContext { date, variables: Some(variables), ..TemplateContext::default() };
    template.render(&[message], surroundings).map_err(|error| error.to_string())
}

#[test]
fn renders_as_jinja2_does_or_refuses_by_name() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/jinja.json");
    let fixture: Fixture = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let (mut same, mut refused, mut wrong) = (0, 0, Vec::new());
    for (source, expected) in &fixture.cases {
        match (render(source, &fixture.variables), expected.as_str()) {
            (Ok(text), Some(expected)) if text == expected => same += 1,
            (Err(_), None) => same += 1,
            (Err(reason), Some(_)) if NAMED.iter().any(|name| reason.contains(name)) => refused += 1,
            (result, expected) => wrong.push(format!("{source:?}: {result:?}, Jinja2: {expected:?}")),
        }
    }
    assert!(wrong.is_empty(), "{} differ: {:#?}", wrong.len(), &wrong[..wrong.len().min(40)]);
    assert!(same >= 4000 && refused * 40 < same, "{same} the same, {refused} refused");
}

/// Names in brackets that are unpacked once more, the call of what a filter gives, and letters folded as Unicode says.
#[test]
fn nested_names_called_filters_and_folded_letters_are_known() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/jinja.json");
    let fixture: Fixture = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let is_meant = |source: &str| {
        ["for a, (", "for (", "for k, (", "for i, (", "set (", "set a, (", "| attr('", ".casefold("].iter().any(|part| source.contains(part))
            // Bytes, and what a text is unpacked into, are not known here.
            && !source.contains("encode") && !source.contains("'xy'")
    };
    let mut count = 0;
    for (source, expected) in fixture.cases.iter().filter(|(source, _)| is_meant(source)) {
        count += 1;
        assert_eq!(render(source, &fixture.variables).ok().as_deref(), expected.as_str(), "{source}");
    }
    assert!(count >= 60, "{count}");
}

/// Functions, methods and slices that do not exist, or get another type: the error has the name, the place and the remedy.
#[test]
fn what_a_template_asks_in_vain_is_told_with_its_place_and_the_mend() {
    for (source, parts) in [
        ("{{ (5).zfill(3) }}", ["`zfill` is a method of texts, and it is called on a number", "with `| string`"]),
        ("{% set n = 5 %}\n{{ n.zfill(3) }}", ["`zfill` is a method of texts", "(line 2 of the template)"]),
        ("{{ messages.strip() }}", ["`strip` is a method of texts, and it is called on a list", "with `| string`"]),
        (
            "{{ 'a'.items() }}",
            ["`items` is a method of mappings, and it is called on a text", "call it on one of these"],
        ),
        ("{{ zfill('a', 3) }}", ["it uses the function `zfill`, which Aludel does not know", "write `value.zfill(…)`"]),
        (
            "\n{{ 'a' | zfill(3) }}",
            ["the filter `zfill`, which Aludel does not know (line 2 of the template)", "write `value.zfill(…)`"],
        ),
        ("{{ 'a' | shout }}", ["the filter `shout`, which Aludel does not know", "chat_template.jinja"]),
        ("{{ 'a'.shout() }}", ["the method `shout`, which Aludel does not know", "(line 1 of the template)"]),
        ("{{ 'a'.encode() }}", ["the method `encode`, which Aludel does not know", "(line 1 of the template)"]),
        (
            "{{ 'a'.ljust('5') }}",
            ["`ljust` takes a whole number as `width` and was given a text", "`| int` converts it"],
        ),
        (
            "{{ 'a'.rjust(5, 7) }}",
            ["`rjust` takes text as `fillchar` and was given a number", "`| string` converts it"],
        ),
        ("{{ 'a'.ljust(5, 'xy') }}", ["`ljust` fills with one letter and was given 2", "(line 1 of the template)"]),
        ("{{ 'a'.zfill() }}", ["`zfill` lacks its argument `width`", "(line 1 of the template)"]),
        ("{{ 'a'.zfill(3, 'x') }}", ["`zfill` takes 1 arguments and was given 2", "(line 1 of the template)"]),
        ("{{ 'a'.lstrip(1) }}", ["`lstrip` takes text as `chars` and was given a number", "`| string` converts it"]),
        ("{{ 'a'.rsplit('') }}", ["`rsplit` was given an empty text as `sep`", "`| list`"]),
        ("{{ 'a'.rfind(1) }}", ["`rfind` takes text as `sub` and was given a number", "`| string` converts it"]),
        (
            "{{ 'a'.startswith(1) }}",
            ["`startswith` takes a text or a tuple of texts and was given a number", "`| string`"],
        ),
        (
            "{{ 'abc'['1':] }}",
            ["a slice `[start:stop:step]` takes whole numbers or none and was given a text", "`| int`"],
        ),
        ("\n\n{{ 'abc'[:1.5] }}", ["takes whole numbers or none and was given a number", "(line 3 of the template)"]),
        ("{{ 'abc'[::0] }}", ["a slice `[start:stop:step]` cannot have a step of zero", "leave the step out"]),
        (
            "{{ 5[1:] }}",
            ["a slice `[start:stop:step]` is of a text, a list or a tuple, and this one is of a number", "| string"],
        ),
        ("{{ {'a': 1}[1:] }}", ["and this one is of a mapping", "| list"]),
        ("{{ nobody[1:] }}", ["and this one is of an undefined value", "| default(…)"]),
    ] {
        let reason = render(source, &Map::new()).expect_err(source);
        assert!(parts.iter().all(|part| reason.contains(part)), "{source:?}: {reason}");
        assert!(reason.contains("template"), "{source:?}: {reason}");
    }
}
