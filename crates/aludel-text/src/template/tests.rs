//! Small templates against what Jinja2 makes of them (fixture by tools/golden/text/make_jinja.py): the same text, or a refusal that
//! says what is not known.

use std::path::Path;

use serde_json::{Map, Value};

use super::{ChatTemplate, Date, Surroundings, TemplateMessage};

#[derive(serde::Deserialize)]
struct Fixture {
    variables: Map<String, Value>,
    cases: Map<String, Value>,
}

/// A macro's own attributes, which no template asks for.
const KNOWN_TO_DIFFER: &str = "{{ f.arguments }}";
/// How a refusal names what it is about.
const NAMED: [&str; 6] =
    ["`", "not iterable", "cannot be printed", "not known here", "cannot be gone through", "reserved variable"];

fn render(source: &str, variables: &Map<String, Value>) -> Result<String, String> {
    let template = ChatTemplate::new(source, Some("<s>"), Some("</s>")).map_err(|error| error.to_string())?;
    let message = TemplateMessage::new("user", "hi".to_owned(), None);
    let date = Some(Date { year: 2026, month: 1, day: 1 });
    let surroundings = Surroundings { date, variables: Some(variables), ..Surroundings::default() };
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
            _ if source.contains(KNOWN_TO_DIFFER) => {}
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
