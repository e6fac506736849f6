//! Chat formats that are known by heart, each in Go's template language for Ollama and as a function. A model's own template is of a format
//! if both render the same conversations to the same text: its source says nothing, since one format has been written in many ways.

use aludel_text::{EncodeOptions, Message, Purpose, Role, TextBundle, encode};

use super::metadata::dated;

/// A format of conversations.
pub(super) struct ChatFormat {
    /// The name.
    pub(super) name: &'static str,
    /// The template in Go's language, without the beginning-of-text token.
    pub(super) go: &'static str,
    /// The text of a conversation that the model is to continue.
    render: fn(&[(Role, &str)]) -> String,
}

/// What a model's template is.
pub(super) struct Recognised {
    pub(super) format: &'static ChatFormat,
    /// The template, which begins with the beginning-of-text token where nothing else would put it there.
    pub(super) go: String,
    /// The system message that the template adds where there is none.
    pub(super) system: Option<String>,
}

const FORMATS: [ChatFormat; 5] = [
    ChatFormat {
        name: "ChatML",
        go: "{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n",
        render: |turns| {
            let turn = |&(role, content): &(Role, &str)| format!("<|im_start|>{}\n{content}<|im_end|>\n", name(role));
            turns.iter().map(turn).collect::<String>() + "<|im_start|>assistant\n"
        },
    },
    ChatFormat {
        name: "Llama 3",
        go: "{{ range .Messages }}<|start_header_id|>{{ .Role }}<|end_header_id|>\n\n{{ .Content }}<|eot_id|>{{ end }}\
             <|start_header_id|>assistant<|end_header_id|>\n\n",
        render: |turns| {
            let header = |role| format!("<|start_header_id|>{role}<|end_header_id|>\n\n");
            let turn = |&(role, content): &(Role, &str)| format!("{}{content}<|eot_id|>", header(name(role)));
            turns.iter().map(turn).collect::<String>() + &header("assistant")
        },
    },
    ChatFormat {
        name: "Gemma",
        go: "{{ $system := \"\" }}{{ range .Messages }}{{ if eq .Role \"system\" }}{{ $system = .Content }}{{ else if eq .Role \"user\" }}\
             <start_of_turn>user\n{{ if $system }}{{ $system }}\n\n{{ $system = \"\" }}{{ end }}{{ .Content }}<end_of_turn>\n{{ else }}\
             <start_of_turn>model\n{{ .Content }}<end_of_turn>\n{{ end }}{{ end }}<start_of_turn>model\n",
        render: |turns| {
            let (mut text, mut system) = (String::new(), "");
            for &(role, content) in turns {
                match role {
                    Role::System => system = content,
                    Role::User => {
                        let before = if system.is_empty() { String::new() } else { format!("{system}\n\n") };
                        text += &format!("<start_of_turn>user\n{before}{content}<end_of_turn>\n");
                        system = "";
                    }
                    _ => text += &format!("<start_of_turn>model\n{content}<end_of_turn>\n"),
                }
            }
            text + "<start_of_turn>model\n"
        },
    },
    ChatFormat {
        name: "Phi-3",
        go: "{{ range .Messages }}<|{{ .Role }}|>\n{{ .Content }}<|end|>\n{{ end }}<|assistant|>\n",
        render: |turns| {
            let turn = |&(role, content): &(Role, &str)| format!("<|{}|>\n{content}<|end|>\n", name(role));
            turns.iter().map(turn).collect::<String>() + "<|assistant|>\n"
        },
    },
    ChatFormat {
        name: "Zephyr",
        go: "{{ range .Messages }}<|{{ .Role }}|>\n{{ .Content }}</s>\n{{ end }}<|assistant|>\n",
        render: |turns| {
            let turn = |&(role, content): &(Role, &str)| format!("<|{}|>\n{content}</s>\n", name(role));
            turns.iter().map(turn).collect::<String>() + "<|assistant|>\n"
        },
    },
];

static KNOWN: [ChatFormat; 5] = FORMATS;

fn name(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
        _ => "user",
    }
}

/// Conversations that formats differ in.
const PROBES: [&[(Role, &str)]; 3] = [
    &[(Role::System, "Be brief."), (Role::User, "Why?"), (Role::Assistant, "Because."), (Role::User, "And then?")],
    &[(Role::System, "Count: 1, 2"), (Role::User, "3")],
    &[(Role::User, "First."), (Role::Assistant, "Second."), (Role::User, "Third.")],
];

/// The format of a model's template, if it is a known one.
pub(super) fn recognise(text: &TextBundle, origin: &str) -> Option<Recognised> {
    let template = text.template(origin).ok()?;
    let options = EncodeOptions { purpose: Purpose::Prompt { open_thinking: false }, ..dated() };
    let rendered = |turns: &[(Role, &str)]| {
        let message = |&(role, content): &(Role, &str)| match role {
            Role::System => Message::system(content),
            Role::Assistant => Message::assistant(content),
            _ => Message::user(content),
        };
        let messages: Vec<Message> = turns.iter().map(message).collect();
        encode(&template, &text.tokenizer, &messages, &options).ok()?.into_iter().next().map(|row| row.text)
    };
    let bos = text.special.bos.as_deref().unwrap_or_default();
    let first = rendered(PROBES[0])?;
    // Where the text begins with the token, either the vocabulary says so or the template has to.
    let begins =
        !bos.is_empty() && first.starts_with(bos) && !KNOWN.iter().any(|format| (format.render)(PROBES[0]) == first);
    let prefix = if begins { bos } else { "" };
    KNOWN.iter().find_map(|format| {
        let expected = |turns: &[(Role, &str)]| format!("{prefix}{}", (format.render)(turns));
        if !PROBES[..2].iter().all(|turns| rendered(turns).as_deref() == Some(&expected(turns))) {
            return None;
        }
        let without = rendered(PROBES[2])?;
        let system = if without == expected(PROBES[2]) {
            None
        } else {
            let system = added_system(format, prefix, &without)?;
            let with: Vec<(Role, &str)> =
                std::iter::once((Role::System, system.as_str())).chain(PROBES[2].iter().copied()).collect();
            (expected(&with) == without).then_some(())?;
            Some(system)
        };
        let go = if begins && !text.special.add_bos { format!("{bos}{}", format.go) } else { format.go.to_owned() };
        Some(Recognised { format, go, system })
    })
}

/// The system message that a rendered conversation begins with, which had none.
fn added_system(format: &ChatFormat, prefix: &str, rendered: &str) -> Option<String> {
    const MARK: &str = "\u{1}";
    let with: Vec<(Role, &str)> = std::iter::once((Role::System, MARK)).chain(PROBES[2].iter().copied()).collect();
    let pattern = format!("{prefix}{}", (format.render)(&with));
    let (before, after) = pattern.split_once(MARK)?;
    let system = rendered.strip_prefix(before)?.strip_suffix(after)?;
    Some(system.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_render_conversations_apart() {
        for (n, a) in KNOWN.iter().enumerate() {
            for b in &KNOWN[n + 1..] {
                assert_ne!((a.render)(PROBES[0]), (b.render)(PROBES[0]), "{} and {}", a.name, b.name);
            }
        }
    }

    #[test]
    fn an_added_system_message_is_found() {
        let chatml = &KNOWN[0];
        let turns: Vec<(Role, &str)> =
            std::iter::once((Role::System, "You help.")).chain(PROBES[2].iter().copied()).collect();
        let rendered = (chatml.render)(&turns);
        assert_eq!(added_system(chatml, "", &rendered).as_deref(), Some("You help."));
        assert_eq!(added_system(chatml, "", "something else"), None);
    }

    /// The two ways that a format is written say the same: each literal of the template is in the rendered text, in order.
    #[test]
    fn templates_in_go_have_the_literals_of_their_functions() {
        for format in &KNOWN {
            let last = format.go.rsplit("{{ end }}").next().unwrap();
            assert!((format.render)(PROBES[0]).ends_with(last), "{}: {last}", format.name);
            let (opened, closed) = (
                format.go.matches("{{ range").count() + format.go.matches("{{ if").count(),
                format.go.matches("{{ end }}").count(),
            );
            assert_eq!(opened, closed, "{}", format.name);
        }
    }
}
