//! Which tokens are trained, which rows come out, and that content stays content.

use crate::common::{fixture, tiny_tokenizer};
use aludel_text::{
    ChatTemplate, EncodeOptions, Encoded, Error, LossOn, Message, Part, PreflightOptions, Role, encode, encode_text,
    end_of_turn_id, preflight,
};
use proptest::prelude::*;

const CHATML: &str = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
const NO_END: &str = "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}";
const DEFAULT_SYSTEM: &str = "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}{% endif %}{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

fn named(name: &str) -> String {
    let fixture: serde_json::Value = fixture("templates.json");
    fixture["templates"][name].as_str().expect(name).to_owned()
}

fn template(source: &str) -> ChatTemplate {
    ChatTemplate::new(source, Some("<|bos|>"), Some("<|im_end|>")).unwrap()
}

/// The row's text with ⟦ ⟧ around what is supervised.
fn show(row: &Encoded) -> String {
    let mut shown = String::new();
    let mut inside = false;
    for (span, &weight) in row.spans.iter().zip(&row.weights) {
        assert!(weight == 0.0 || weight == 1.0);
        if inside != (weight > 0.0) {
            shown.push(if inside { '⟧' } else { '⟦' });
            inside = !inside;
        }
        shown.push_str(&row.text[span.clone()]);
    }
    if inside {
        shown.push('⟧');
    }
    shown
}

fn check(source: &str, with_think: bool, messages: &[Message], options: &EncodeOptions, expected: &[&str]) {
    let tokenizer = tiny_tokenizer(with_think);
    let rows = encode(&template(source), &tokenizer, messages, options).unwrap();
    let shown: Vec<String> = rows.iter().map(show).collect();
    assert_eq!(shown, expected);
    for row in &rows {
        assert_eq!(tokenizer.decode(&row.ids, false).unwrap(), row.text);
        assert!([row.weights.len(), row.spans.len(), row.parts.len()].iter().all(|&count| count == row.len()));
    }
}

fn question() -> Message {
    Message::user("2+2?")
}

fn thought() -> Message {
    Message::assistant("4").with_reasoning("two and two")
}

#[test]
fn the_mask_covers_reasoning_answer_and_end_of_turn() {
    let train = EncodeOptions::default();
    let messages = [question(), thought()];
    let reasoned = "⟦<think>\ntwo and two\n</think>\n\n4<|im_end|>⟧";
    for with_think in [false, true] {
        check(
            CHATML,
            with_think,
            &messages,
            &train,
            &[&format!("<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n{reasoned}\n")],
        );
    }
    check(
        DEFAULT_SYSTEM,
        true,
        &messages,
        &train,
        &[&format!(
            "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n{reasoned}\n"
        )],
    );
    check(
        CHATML,
        true,
        &messages,
        &EncodeOptions::train(LossOn::Answer),
        &["<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n<think>\ntwo and two\n</think>\n\n⟦4<|im_end|>⟧\n"],
    );
    check(
        CHATML,
        true,
        &messages,
        &EncodeOptions::train(LossOn::All),
        &["<|im_start|>⟦user\n2+2?<|im_end|>\n<|im_start|>assistant\n<think>\ntwo and two\n</think>\n\n4<|im_end|>\n⟧"],
    );
    check(NO_END, true, &messages, &train, &["user: 2+2?\nassistant: ⟦<think>\ntwo and two\n</think>\n\n4<|im_end|>⟧"]);
    check(
        &named("trims content"),
        true,
        &messages,
        &train,
        &[&format!("<|bos|><|im_start|>user\n\n2+2?<|im_end|><|im_start|>assistant\n\n{reasoned}")],
    );
    check(
        &named("deletes past reasoning from content"),
        true,
        &messages,
        &train,
        &[&format!("<|im_start|>user\n2+2?<|im_end|><|im_start|>assistant\n{reasoned}")],
    );
    check(
        &named("generation block"),
        true,
        &messages,
        &train,
        &[&format!("<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n{reasoned}\n")],
    );
}

#[test]
fn an_answer_without_reasoning_keeps_what_the_template_puts_before_it() {
    let messages = [question(), Message::assistant("4")];
    let train = EncodeOptions::default();
    check(
        &named("keeps reasoning in the last turn only"),
        true,
        &messages,
        &train,
        &["<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n⟦<think>\n\n</think>\n\n4<|im_end|>⟧\n"],
    );
    check(
        CHATML,
        true,
        &messages,
        &train,
        &["<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n⟦4<|im_end|>⟧\n"],
    );
}

#[test]
fn turns_share_a_row_where_the_context_allows_it() {
    let train = EncodeOptions::default();
    let plain = [question(), Message::assistant("4"), Message::user("3+3?"), thought()];
    check(
        CHATML,
        true,
        &plain,
        &train,
        &[
            "<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n⟦4<|im_end|>⟧\n<|im_start|>user\n3+3?<|im_end|>\n<|im_start|>assistant\n⟦<think>\ntwo and two\n</think>\n\n4<|im_end|>⟧\n",
        ],
    );
    // The template shows no past reasoning in a chat, so the second turn must not be trained behind it either.
    let reasoned = [question(), thought(), Message::user("3+3?"), Message::assistant("6"), Message::user("dropped")];
    let first =
        "<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n⟦<think>\ntwo and two\n</think>\n\n4<|im_end|>⟧\n";
    check(
        CHATML,
        true,
        &reasoned,
        &train,
        &[
            first,
            "<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n4<|im_end|>\n<|im_start|>user\n3+3?<|im_end|>\n<|im_start|>assistant\n⟦6<|im_end|>⟧\n",
        ],
    );
    check(
        &named("keeps reasoning in the last turn only"),
        true,
        &reasoned,
        &train,
        &[
            first,
            "<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n4<|im_end|>\n<|im_start|>user\n3+3?<|im_end|>\n<|im_start|>assistant\n⟦<think>\n\n</think>\n\n6<|im_end|>⟧\n",
        ],
    );
}

#[test]
fn prompts_open_thinking_once() {
    let tokenizer = tiny_tokenizer(true);
    let open_check = |source: &str, open_thinking: bool, end: &str, opens: bool| {
        let rows = encode(&template(source), &tokenizer, &[question()], &EncodeOptions::prompt(open_thinking)).unwrap();
        assert!(rows[0].text.ends_with(end), "{:?}", rows[0].text);
        assert_eq!(rows[0].opens_thinking, opens);
        assert_eq!(rows[0].supervised(), 0);
    };
    open_check(CHATML, false, "<|im_start|>assistant\n", false);
    open_check(CHATML, true, "<|im_start|>assistant\n<think>\n", true);
    let opened = named("deletes past reasoning from content");
    open_check(&opened, false, "<|im_start|>assistant\n<think>\n", true);
    open_check(&opened, true, "<|im_start|>assistant\n<think>\n", true);
}

#[test]
fn each_token_knows_its_part() {
    let tokenizer = tiny_tokenizer(true);
    let messages = [Message::system("S"), question(), thought()];
    let row = encode(&template(CHATML), &tokenizer, &messages, &EncodeOptions::default()).unwrap().remove(0);
    let text_of = |part: Part| -> String {
        row.spans
            .iter()
            .zip(&row.parts)
            .filter(|&(_, &other)| other == part)
            .map(|(span, _)| &row.text[span.clone()])
            .collect()
    };
    assert_eq!(text_of(Part::System), "S");
    assert_eq!(text_of(Part::User), "2+2?");
    assert_eq!(text_of(Part::Reasoning), "<think>\ntwo and two\n</think>\n\n");
    assert_eq!(text_of(Part::Answer), "4");
    assert_eq!(text_of(Part::EndOfTurn), "<|im_end|>");
    assert_eq!(row.turns.len(), 1);
    assert_eq!(&row.text[row.turns[0].close.clone()], "</think>");
}

#[test]
fn the_end_of_turn_is_known() {
    let tokenizer = tiny_tokenizer(true);
    let options = EncodeOptions::default();
    assert_eq!(end_of_turn_id(&template(CHATML), &tokenizer, &options).unwrap(), Some(2));
    assert_eq!(end_of_turn_id(&template(NO_END), &tokenizer, &options).unwrap(), Some(2));
}

#[test]
fn plain_text_is_all_trained() {
    let tokenizer = tiny_tokenizer(true);
    let row = encode_text(&tokenizer, "a<|im_end|>", Some(3), Some(2)).unwrap();
    assert_eq!((row.ids[0], row.weights[0], row.ids[row.len() - 1]), (3, 0.0, 2));
    assert_eq!(row.supervised(), row.len() - 1);
    assert_eq!(row.ids.iter().filter(|&&id| tokenizer.is_control(id)).count(), 2);
}

#[test]
fn bad_messages_are_refused() {
    let tokenizer = tiny_tokenizer(true);
    let fails = |source: &str, messages: &[Message]| {
        encode(&template(source), &tokenizer, messages, &EncodeOptions::default()).expect_err("refused")
    };
    assert!(matches!(fails(CHATML, &[]), Error::BadMessages { .. }));
    assert!(matches!(fails(CHATML, &[question()]), Error::BadMessages { .. }));
    let deaf = "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}";
    assert!(matches!(fails(deaf, &[question(), thought()]), Error::TurnNotRendered { index: 1, times: 0 }));
    let twice = "{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}";
    assert!(matches!(fails(twice, &[question(), thought()]), Error::TurnNotRendered { index: 1, times: 2 }));
    let backwards = "{% for m in messages[::-1] %}{{ m.content }}<|im_end|>{% endfor %}";
    assert!(matches!(fails(backwards, &[question(), thought()]), Error::TurnNotLast { index: 1 }));
    // Rewritten content passes as long as it can do no harm.
    let shouts = "{% for m in messages %}{{ m.content | replace('q', '\"') }}<|im_end|>{% endfor %}";
    let row =
        encode(&template(shouts), &tokenizer, &[Message::user("qq middle qq"), thought()], &EncodeOptions::default());
    assert!(row.unwrap()[0].text.starts_with("\"\" middle \"\""));
    // What is known of a rewritten content is protected; a control token that the template itself makes of it is refused.
    let messages = [Message::user("q<|im_start|> middle q"), thought()];
    let row = encode(&template(shouts), &tokenizer, &messages, &EncodeOptions::default()).unwrap().remove(0);
    assert_eq!(row.ids.iter().filter(|&&id| id == 1).count(), 0, "{row:?}");
    let makes = "{% for m in messages %}{{ m.content | replace('[', '<') | replace(']', '>') }}<|im_end|>{% endfor %}";
    let error = fails(makes, &[Message::user("a [|im_start|] b"), thought()]);
    assert!(
        matches!(&error, Error::ContentRewritten { index: 0, literal, .. } if literal == "<|im_start|>"),
        "{error}"
    );
}

#[test]
fn a_text_that_may_stand_in_two_places_is_refused_as_our_limit() {
    let tokenizer = tiny_tokenizer(true);
    let source =
        "{% for m in messages %}{{ 'user: ' + m.content if m.content == 'user' else m.content }}<|im_end|>{% endfor %}";
    let error = encode(&template(source), &tokenizer, &[Message::user("user")], &EncodeOptions::prompt(false));
    let error = error.expect_err("ambiguous").to_string();
    for part in ["message 0 (user)", "Aludel cannot tell", "no fault of the row", "chat_template.jinja"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn preflight_finds_what_would_be_learnt_wrongly() {
    let tokenizer = tiny_tokenizer(true);
    let messages = [question(), thought()];
    let row = encode(&template(CHATML), &tokenizer, &messages, &EncodeOptions::default()).unwrap().remove(0);
    let options = PreflightOptions { max_length: None, allow_cut_reasoning: false, loss_on: LossOn::Assistant };
    preflight(&row, &messages, &options).unwrap();
    let cut = |max_length: usize| PreflightOptions { max_length: Some(max_length), ..options };
    preflight(&row, &messages, &cut(row.len())).unwrap();
    preflight(&row, &messages, &cut(row.len() - 1)).unwrap();
    let close_at = row.ids.iter().position(|&id| Some(id) == tokenizer.token_to_id("</think>")).unwrap();
    preflight(&row, &messages, &cut(close_at + 1)).unwrap();
    let error = preflight(&row, &messages, &cut(close_at)).expect_err("cut");
    assert!(matches!(error, Error::CutInsideReasoning { .. }) && error.to_string().contains("max_length"), "{error}");
    preflight(&row, &messages, &PreflightOptions { allow_cut_reasoning: true, ..cut(close_at) }).unwrap();

    let fails = |change: &dyn Fn(&mut Encoded)| {
        let mut changed = row.clone();
        change(&mut changed);
        preflight(&changed, &messages, &options).expect_err("found")
    };
    let end = row.ids.iter().rposition(|&id| id == 2).unwrap();
    assert!(matches!(fails(&|row| row.weights[end] = 0.0), Error::EndOfTurnNotSupervised { .. }));
    assert!(matches!(fails(&|row| row.weights[close_at] = 0.0), Error::ReasoningNotSupervised { missing: 1, .. }));
    assert!(matches!(fails(&|row| row.weights.fill(0.0)), Error::NothingSupervised));
    assert!(matches!(
        fails(&|row| row.text = row.text.replace("two and", "for and")),
        Error::ReasoningLost { index: 1, .. }
    ));
}

fn content() -> impl Strategy<Value = String> {
    let literals = [
        "<|im_end|>",
        "<|im_start|>",
        "<think>",
        "</think>",
        "<|bos|>",
        "\u{e0a0}0.1\u{e0a1}",
        "\n",
        " ",
        "<|im",
        "_end|>",
        "answer",
        "é",
        "日",
    ];
    proptest::collection::vec(
        prop_oneof![proptest::sample::select(literals.to_vec()).prop_map(str::to_owned), "[a-z<|>/ \n]{0,5}"],
        0..7,
    )
    .prop_map(|parts| parts.concat())
}

proptest! {
    /// For any contents, the control tokens of a row are exactly those of the same row with harmless contents,
    /// and decoding gives the rendered text.
    #[test]
    fn content_never_becomes_a_control_token(user in content(), answer in content(), reasoning in content(), system in content(),
        which in 0usize..4, think: bool) {
        let sources = [CHATML.to_owned(), DEFAULT_SYSTEM.to_owned(), named("keeps reasoning in the last turn only"), named("trims content")];
        let template = template(&sources[which]);
        let tokenizer = tiny_tokenizer(think);
        let make = |texts: [&str; 4]| [Message::system(texts[0]), Message::user(texts[1]), Message::assistant(texts[2]).with_reasoning(texts[3])];
        let harmless_reasoning = if reasoning.trim().is_empty() { "" } else { "r" };
        for options in [EncodeOptions::default(), EncodeOptions::prompt(true)] {
            let is_train = options.purpose == aludel_text::Purpose::Train;
            let count = if is_train { 3 } else { 2 };
            let control = |messages: &[Message]| {
                let row = encode(&template, &tokenizer, &messages[..count], &options).unwrap().remove(0);
                assert_eq!(tokenizer.decode(&row.ids, false).unwrap(), row.text);
                row.ids.into_iter().filter(|&id| tokenizer.is_control(id)).collect::<Vec<_>>()
            };
            let wild = make([&system, &user, &answer, &reasoning]);
            prop_assert_eq!(control(&wild), control(&make(["s", "u", "a", harmless_reasoning])));
        }
    }

    #[test]
    fn plain_text_stays_plain(text in content(), think: bool) {
        let tokenizer = tiny_tokenizer(think);
        let ids = tokenizer.encode_plain(&text).unwrap();
        prop_assert!(ids.iter().all(|&id| !tokenizer.is_control(id)));
        prop_assert_eq!(tokenizer.decode(&ids, false).unwrap(), text.clone());
        let mut stream = tokenizer.stream(false);
        let mut streamed: String = ids.iter().filter_map(|&id| stream.push(id)).collect();
        streamed.extend(stream.finish());
        prop_assert_eq!(streamed, text);
    }
}

#[test]
fn rows_can_be_made_on_many_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<ChatTemplate>();
    shared::<aludel_text::Tokenizer>();
    shared::<Error>();
}

#[test]
fn roles_have_names() {
    assert_eq!(
        [Role::System, Role::User, Role::Assistant, Role::Tool].map(Role::as_str),
        ["system", "user", "assistant", "tool"]
    );
}

#[test]
fn turns_count_as_much_as_they_weigh() {
    let weighed = |text: &str, weight: f32| Message { weight, ..Message::assistant(text) };
    let turns =
        |first: f32, second: f32| [question(), weighed("5", first), Message::user("sure?"), weighed("4", second)];
    let begin = "<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n";
    let between = "\n<|im_start|>user\nsure?<|im_end|>\n<|im_start|>assistant\n";
    let train = EncodeOptions::default();
    check(CHATML, true, &turns(0.0, 1.0), &train, &[&format!("{begin}5<|im_end|>{between}⟦4<|im_end|>⟧\n")]);
    check(CHATML, true, &turns(1.0, 0.0), &train, &[&format!("{begin}⟦5<|im_end|>⟧\n")]);
    // A turn's end is learnt with it or not at all, also where everything is.
    let all = EncodeOptions::train(LossOn::All);
    let learnt_around = "<|im_start|>⟦user\n2+2?<|im_end|>\n<|im_start|>assistant\n⟧5<|im_end|>\n<|im_start|>user\n\
                         ⟦sure?<|im_end|>\n<|im_start|>assistant\n4<|im_end|>\n⟧";
    check(CHATML, true, &turns(0.0, 1.0), &all, &[learnt_around]);

    let tokenizer = tiny_tokenizer(true);
    let rows = encode(&template(CHATML), &tokenizer, &turns(0.5, 2.0), &train).unwrap();
    let weights: Vec<f32> = rows[0].weights.iter().copied().filter(|&weight| weight > 0.0).collect();
    assert_eq!((rows.len(), weights.as_slice()), (1, &[0.5, 0.5, 2.0, 2.0][..]));
    let none = encode(&template(CHATML), &tokenizer, &turns(0.0, 0.0), &train).unwrap_err();
    assert!(matches!(none, Error::NothingSupervised), "{none}");
}
