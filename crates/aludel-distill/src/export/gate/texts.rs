//! What the gate compares: two hundred texts with everything that tokenizers treat apart, and conversations of several shapes. How they are
//! compared is the parent's matter.

use aludel_text::Message;

/// How many texts there are.
const TEXTS: usize = 200;

const FRAGMENTS: [&str; 24] = [
    "The train leaves at 14:05 and arrives three hours and twenty minutes later.",
    "If a pump fills 12 litres per minute, how long does it take for 300 litres? 300 / 12 = 25 minutes.",
    "def mean(values):\n    total = sum(values)\n    return total / len(values) if values else 0.0\n",
    "for (int i = 0; i < n; ++i) { a[i] += b[i] * 2; } // doubled",
    "Größe, Übung, naïve café, façade, Øresund, Łódź, žluťoučký kůň",
    "今天天气很好,我们去公园散步。",
    "東京タワーは1958年に完成しました。",
    "오늘은 날씨가 좋습니다.",
    "Сегодня хорошая погода, пойдём гулять!",
    "الطقس جميل اليوم",
    "आज मौसम अच्छा है",
    "วันนี้อากาศดี",
    "🙂🚀👩‍👩‍👧‍👦🇪🇺 emoji 👍🏽 in between",
    "\t\ttabs  and   runs    of     spaces \u{a0}and\u{2003}others",
    "line\r\nbreaks\n\n\nof\rall kinds\n",
    "3.14159, 1,234,567.89, 0x1F, 1e-10, 2^31 − 1, ½ and ⅔, x² + y² = z²",
    "I'm, you're, he'll, WE'VE, they'd, it's, o'clock, 'quoted' and \"quoted\"",
    "https://example.org/a/path?query=1&other=%20#part and name@example.org",
    "e\u{301} combining a\u{308}o\u{308}u\u{308} against é ä ö ü",
    "<think> is no <|special|> token here, [INST] neither, </s> perhaps",
    "\\frac{a}{b} + \\sqrt{2} \\leq \\sum_{i=1}^{n} i^2",
    "| a | b |\n|---|---|\n| 1 | 2 |\n",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!!!!!!!!????????--------========",
    "SHOUTING and camelCase and snake_case and kebab-case and MixedUP",
];

const SEPARATORS: [&str; 5] = [" ", "\n\n", "", "  ", "\n"];

/// The texts: each fragment, then pairs of them, all different.
pub(super) fn texts() -> Vec<String> {
    let count = FRAGMENTS.len();
    let pairs = (1..count).flat_map(|step| (0..count).map(move |first| (first, (first + step) % count)));
    let pairs = pairs.enumerate().map(|(n, (first, second))| {
        format!("{}{}{}", FRAGMENTS[first], SEPARATORS[n % SEPARATORS.len()], FRAGMENTS[second])
    });
    FRAGMENTS.iter().map(|fragment| (*fragment).to_owned()).chain(pairs).take(TEXTS).collect()
}

/// Conversations that a model is to continue.
pub(super) fn conversations() -> Vec<Vec<Message>> {
    let question = || Message::user(FRAGMENTS[1]);
    vec![
        vec![question()],
        vec![Message::system("Answer in one sentence."), question()],
        vec![question(), Message::assistant("25 minutes."), Message::user(FRAGMENTS[19])],
        vec![
            Message::system(FRAGMENTS[4]),
            Message::user("  spaces around  "),
            Message::assistant(FRAGMENTS[2]),
            Message::user(FRAGMENTS[12]),
        ],
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_two_hundred_different_texts() {
        let all = texts();
        let different: std::collections::HashSet<&String> = all.iter().collect();
        assert_eq!((all.len(), different.len()), (TEXTS, TEXTS));
    }
}
