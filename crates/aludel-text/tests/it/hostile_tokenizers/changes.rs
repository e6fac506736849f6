//! Files with one thing changed, by a seed: a value for another, a byte for another.

use serde_json::{Value, json};

/// Numbers by a counter, for choices.
struct Choices(u64);

impl Choices {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end.max(1)
    }
}

pub(super) fn mutated(base: &Value, seed: u64) -> Vec<u8> {
    let mut choices = Choices(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let whole = base.to_string().into_bytes();
    loop {
        let bytes = changed_once(base, &mut choices);
        if bytes != whole {
            return bytes;
        }
    }
}

/// Goes down to some place of a file.
fn somewhere<'a>(value: &'a mut Value, choices: &mut Choices) -> &'a mut Value {
    let count =
        value.as_array().map(Vec::len).or_else(|| value.as_object().map(|fields| fields.len())).unwrap_or_default();
    if count == 0 || choices.below(8) == 0 {
        return value;
    }
    let at = choices.below(count);
    let inner = match value {
        Value::Array(items) => &mut items[at],
        Value::Object(fields) => fields.values_mut().nth(at).unwrap(),
        _ => unreachable!(),
    };
    somewhere(inner, choices)
}

/// A value of the same type, mostly.
fn another(value: &Value, other: Value, choices: &mut Choices) -> Value {
    const NUMBERS: [u64; 9] = [0, 1, 2, 7, 255, 1 << 31, u32::MAX as u64, 1 << 40, u64::MAX];
    if choices.below(12) == 0 {
        let odd = [Value::Null, json!(""), json!([]), json!({}), json!(0), json!(-1), json!(1e300), json!(true), other];
        return odd[choices.below(odd.len())].clone();
    }
    match value.clone() {
        Value::Null => other,
        Value::Bool(is_so) => json!(!is_so),
        Value::Number(number) => match choices.below(3) {
            0 => json!(number.as_u64().unwrap_or(5) + 1),
            1 => json!(-number.as_f64().unwrap_or(0.5)),
            _ => json!(NUMBERS[choices.below(NUMBERS.len())]),
        },
        Value::String(text) => match choices.below(8) {
            0 => json!(""),
            1 => json!(text.chars().rev().collect::<String>()),
            2 => json!(text.chars().skip(1).collect::<String>()),
            3 => json!(text + "é"),
            4 => json!(text.repeat(1 + choices.below(3_000))),
            5 if other.is_string() => other,
            _ => {
                let mut letters: Vec<char> = text.chars().collect();
                if !letters.is_empty() {
                    let at = choices.below(letters.len());
                    letters[at] =
                        ['a', '(', ')', '*', '+', '[', '\\', '|', ' ', '\0', '▁', 'é', '0', 'B'][choices.below(14)];
                }
                json!(letters.into_iter().collect::<String>())
            }
        },
        Value::Array(mut items) if !items.is_empty() => {
            let at = choices.below(items.len());
            match choices.below(4) {
                0 => drop(items.remove(at)),
                1 => items.push(items[at].clone()),
                2 => items.swap(0, at),
                _ => items.insert(at, other),
            }
            json!(items)
        }
        Value::Object(mut fields) if !fields.is_empty() => {
            let key = fields.keys().nth(choices.below(fields.len())).cloned().unwrap();
            match choices.below(3) {
                0 => drop(fields.remove(&key)),
                1 => drop(fields.insert(key, other)),
                _ => drop(fields.insert(key + "x", other)),
            }
            Value::Object(fields)
        }
        empty => empty,
    }
}

fn changed_once(base: &Value, choices: &mut Choices) -> Vec<u8> {
    let mut file = base.clone();
    if choices.below(5) > 0 {
        for _ in 0..1 + choices.below(2) {
            let other = somewhere(&mut file.clone(), choices).clone();
            let value = somewhere(&mut file, choices);
            *value = another(value, other, choices);
        }
        return file.to_string().into_bytes();
    }
    let mut bytes = file.to_string().into_bytes();
    for _ in 0..1 + choices.below(2) {
        let at = choices.below(bytes.len());
        match choices.below(3) {
            0 => bytes[at] = b" \"'\\0129-{}[],:azAZ"[choices.below(19)],
            1 => drop(bytes.remove(at)),
            _ => bytes[at] ^= 1 << choices.below(7),
        }
    }
    bytes
}
