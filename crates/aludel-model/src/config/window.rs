//! Which layers see a window of the past alone: the keys of `config.json` that say so, as transformers reads them for each family.

use serde_json::{Value, json};

use super::Config;

/// What a layer attends to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerType {
    /// All positions up to the token's own.
    FullAttention,
    /// As many of them as the window holds, the last ones.
    SlidingAttention,
}

impl LayerType {
    pub(super) fn sliding_if(is_sliding: bool) -> LayerType {
        if is_sliding { LayerType::SlidingAttention } else { LayerType::FullAttention }
    }

    /// The name in `layer_types` of `config.json`.
    fn name(self) -> &'static str {
        match self {
            LayerType::FullAttention => "full_attention",
            LayerType::SlidingAttention => "sliding_attention",
        }
    }
}

/// Which layers of a family have a window.
#[derive(Debug, PartialEq)]
pub(super) enum Windows {
    /// None, whatever the config says.
    None,
    /// Every layer, where `sliding_window` is a number; the value is its default.
    EveryLayer(Option<usize>),
    /// Those that `layer_types` names, else all but each sixth, or what `sliding_window_pattern` has in place of six.
    Pattern,
    /// Those that `layer_types` names, else those from `max_window_layers` on, where `use_sliding_window` is on.
    UpperLayers,
}

/// Defaults of transformers' classes Qwen2, Qwen3 and Gemma 3.
const DEFAULT_WINDOW: usize = 4096;
const FIRST_UPPER_LAYER: usize = 28;
pub(super) const PATTERN: usize = 6;

/// The window and the types of so many layers; else the key that makes no sense, and why.
pub(super) fn read(windows: &Windows, json: &Value, layers: usize) -> Result<(Option<usize>, Vec<LayerType>), Wrong> {
    match windows {
        Windows::None => Ok((None, vec![LayerType::FullAttention; layers])),
        Windows::EveryLayer(default) => {
            let window = size(json, "sliding_window", *default)?;
            let types = vec![LayerType::sliding_if(window.is_some()); layers];
            match listed(json, layers)? {
                Some(listed) if listed != types => Err((
                    "layer_types",
                    format!(
                        "contradicts sliding_window, which this class gives to every layer or to none; use a model whose layers are all {:?}",
                        types[0].name()
                    ),
                )),
                _ => Ok((window, types)),
            }
        }
        Windows::Pattern => {
            let window = size(json, "sliding_window", Some(DEFAULT_WINDOW))?;
            let pattern = size(json, "sliding_window_pattern", Some(PATTERN))?.unwrap_or(PATTERN);
            let types = listed(json, layers)?.unwrap_or_else(|| by_pattern(layers, pattern));
            if window.is_none() && types.contains(&LayerType::SlidingAttention) {
                return Err((
                    "sliding_window",
                    "is null, but there are layers with a window; set it, or get the file again".to_owned(),
                ));
            }
            Ok((window.filter(|_| types.contains(&LayerType::SlidingAttention)), types))
        }
        Windows::UpperLayers => {
            let is_used = match &json["use_sliding_window"] {
                Value::Null => false,
                Value::Bool(is_used) => *is_used,
                other => return Err(("use_sliding_window", format!("{other} should be true or false"))),
            };
            let window = if is_used { size(json, "sliding_window", Some(DEFAULT_WINDOW))? } else { None };
            let first = match &json["max_window_layers"] {
                Value::Null => FIRST_UPPER_LAYER,
                value => value
                    .as_u64()
                    .ok_or_else(|| ("max_window_layers", format!("{value} should be a number of layers")))?
                    as usize,
            };
            let by_number =
                || (0..layers).map(|layer| LayerType::sliding_if(window.is_some() && layer >= first)).collect();
            let types = listed(json, layers)?.unwrap_or_else(by_number);
            if window.is_none() && types.contains(&LayerType::SlidingAttention) {
                let reason = "has layers with a window, but use_sliding_window is off or sliding_window null; set both, or make \
                              every layer \"full_attention\"";
                return Err(("layer_types", reason.to_owned()));
            }
            Ok((window.filter(|_| types.contains(&LayerType::SlidingAttention)), types))
        }
    }
}

/// Each layer has a window but those whose number, counted from 1, is a multiple of the pattern.
pub(super) fn by_pattern(layers: usize, pattern: usize) -> Vec<LayerType> {
    (1..=layers).map(|number| LayerType::sliding_if(!number.is_multiple_of(pattern))).collect()
}

/// A key that makes no sense, and why.
pub(super) type Wrong = (&'static str, String);

/// A window; null is none.
fn size(json: &Value, key: &'static str, default: Option<usize>) -> Result<Option<usize>, Wrong> {
    match json.get(key) {
        None => Ok(default),
        Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64() {
            Some(window @ 1..) => Ok(Some(window as usize)),
            _ => Err((
                key,
                format!("{value} makes no sense as a window; a whole number of 1 or more would, or null for none"),
            )),
        },
    }
}

/// What `layer_types` says, if anything.
fn listed(json: &Value, layers: usize) -> Result<Option<Vec<LayerType>>, Wrong> {
    let key = "layer_types";
    let Some(value) = json.get(key).filter(|value| !value.is_null()) else { return Ok(None) };
    let known = [LayerType::FullAttention, LayerType::SlidingAttention];
    let names = || known.map(|kind| format!("{:?}", kind.name())).join(" and ");
    let items = value.as_array().ok_or_else(|| (key, format!("should be a list of {}", names())))?;
    if items.len() != layers {
        return Err((key, format!("names {} layers, but num_hidden_layers is {layers}", items.len())));
    }
    let one = |item: &Value| {
        let found = known.into_iter().find(|kind| Some(kind.name()) == item.as_str());
        found.ok_or_else(|| (key, format!("{item} is not supported; {} are, so use a model of such layers", names())))
    };
    Ok(Some(items.iter().map(one).collect::<Result<_, _>>()?))
}

/// What a `config.json` says of it.
pub(super) fn write(windows: &Windows, config: &Config, json: &mut Value) {
    let is_sliding = |kind: &LayerType| *kind == LayerType::SlidingAttention;
    let first_sliding = config.layer_types.iter().position(is_sliding);
    match windows {
        Windows::None => return,
        Windows::EveryLayer(_) | Windows::Pattern => json["sliding_window"] = json!(config.sliding_window),
        Windows::UpperLayers => {
            json["use_sliding_window"] = json!(first_sliding.is_some());
            if let Some(first) = first_sliding {
                json["sliding_window"] = json!(config.sliding_window);
                json["max_window_layers"] = json!(first);
            }
        }
    }
    // the class of Mistral warns of a list that it has no use for
    let is_default = matches!(windows, Windows::UpperLayers) && first_sliding.is_none();
    if !matches!(windows, Windows::EveryLayer(_)) && !is_default {
        json["layer_types"] = config.layer_types.iter().map(|kind| kind.name()).collect();
    }
}
