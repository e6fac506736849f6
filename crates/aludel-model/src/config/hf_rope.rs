//! The rotary keys of `config.json`, in both generations: bases, scalings, and how many channels are rotated.

use serde_json::Value;

use super::hf::{FULL, Reader, SLIDING};
use super::rope::RopeScaling;
use crate::error::Result;

impl Reader<'_> {
    /// How many channels of a head are rotated.
    pub(super) fn rotary_dim(&self, head_dim: usize) -> Result<usize> {
        if !self.family.has_longrope {
            return Ok(head_dim);
        }
        let key = "partial_rotary_factor";
        let mut factor = self.number(self.json, key)?;
        for name in ["rope_scaling", "rope_parameters"] {
            let here = self.number(&self.json[name], key)?;
            if factor.zip(here).is_some_and(|(one, other)| one != other) {
                let reason = format!(
                    "contradicts {key}, and versions of transformers read one or the other; keep the right one"
                );
                return Err(self.wrong(&format!("{name}.{key}"), reason));
            }
            factor = factor.or(here);
        }
        Ok((head_dim as f64 * factor.unwrap_or(1.0)) as usize)
    }

    /// LongRoPE's numbers. Both generations of transformers take the positions from beside the scaling where it has none.
    fn longrope(&self, name: &str, rope: &Value) -> Result<RopeScaling> {
        let factors = |key: &str| {
            let list = rope[key].as_array().map(|list| list.iter().map(Value::as_f64).collect::<Option<Vec<f64>>>());
            match list.flatten().filter(|list| list.iter().all(|x| x.is_finite() && *x > 0.0)) {
                Some(list) => Ok(list),
                None => Err(self.wrong(&format!("{name}.{key}"), "should be a list of positive numbers".to_owned())),
            }
        };
        let key = "original_max_position_embeddings";
        let outer = self.json.get(key).filter(|value| !value.is_null());
        let inner = rope.get(key).filter(|value| !value.is_null());
        if inner.zip(outer).is_some_and(|(inner, outer)| inner.as_f64() != outer.as_f64()) {
            return Err(self.wrong(key, format!("contradicts {name}.{key}; keep the right one")));
        }
        let original = match inner.or(outer).map(|value| (value, value.as_u64())) {
            None => self.family.default_positions,
            Some((_, Some(original @ 2..))) => original as usize,
            Some((value, _)) => {
                return Err(self.wrong(key, format!("{value} makes no sense; a number of positions would")));
            }
        };
        let positions = self.positions()?;
        let factor = self.number(rope, "factor")?.unwrap_or(positions as f64 / original as f64);
        let of_formula = RopeScaling::longrope_attention_factor_of(factor, original);
        let attention_factor = self.number(rope, "attention_factor")?.unwrap_or(of_formula);
        if !(attention_factor.is_finite() && attention_factor > 0.0) {
            let reason = format!("{attention_factor} makes no sense; a positive number would");
            return Err(self.wrong(&format!("{name}.attention_factor"), reason));
        }
        Ok(RopeScaling::LongRope {
            short_factor: factors("short_factor")?,
            long_factor: factors("long_factor")?,
            attention_factor,
            original_max_position_embeddings: original,
            max_position_embeddings: positions,
        })
    }

    /// θ and scaling. transformers 5 keeps both in `rope_parameters`, transformers 4 has `rope_theta` and `rope_scaling`. A file
    /// may have both generations, since each reader takes its own, but they must agree. Without θ a family's own is taken; transformers
    /// takes null for no number, and fails.
    pub(super) fn rope(&self) -> Result<(Option<f64>, RopeScaling)> {
        self.rope_of([("rope_scaling", &self.json["rope_scaling"]), ("rope_parameters", &self.json["rope_parameters"])])
    }

    /// As [`Reader::rope`], where layers with a window have frequencies of their own: `rope_parameters` then has two parts.
    pub(super) fn global_rope(&self) -> Result<(Option<f64>, RopeScaling)> {
        let parts = &self.json["rope_parameters"];
        if let Some(key) =
            parts.as_object().into_iter().flatten().map(|(key, _)| key).find(|key| ![FULL, SLIDING].contains(&&***key))
        {
            let reason = format!("is not known here; {FULL:?} and {SLIDING:?} are, one set of parameters in each");
            return Err(self.wrong(&format!("rope_parameters.{key}"), reason));
        }
        if !(parts.is_null() || parts.is_object()) {
            return Err(self.wrong("rope_parameters", format!("{parts} should be an object")));
        }
        self.rope_of([("rope_scaling", &self.json["rope_scaling"]), ("rope_parameters.full_attention", &parts[FULL])])
    }

    /// θ of layers with a window, whose frequencies are not scaled.
    pub(super) fn local_theta(&self) -> Result<Option<f64>> {
        let name = "rope_parameters.sliding_attention";
        let older = self.number(self.json, "rope_local_base_freq")?;
        let object = match &self.json["rope_parameters"][SLIDING] {
            Value::Null => return Ok(older),
            object @ Value::Object(_) => object,
            other => return Err(self.wrong(name, format!("{other} should be an object"))),
        };
        if self.rope_scaling(name, object)? != RopeScaling::None {
            let reason = "is scaled, which is not supported for layers with a window; use a model without it";
            return Err(self.wrong(name, reason.to_owned()));
        }
        let theta = self.number(object, "rope_theta")?;
        if older.zip(theta).is_some_and(|(older, theta)| older != theta) {
            let reason = "contradicts rope_local_base_freq, and versions of transformers read one or the other; keep the right one";
            return Err(self.wrong(name, reason.to_owned()));
        }
        Ok(theta.or(older))
    }

    fn rope_of(&self, objects: [(&str, &Value); 2]) -> Result<(Option<f64>, RopeScaling)> {
        let mut theta = self.number(self.json, "rope_theta")?;
        let is_null = |object: &Value| object.get("rope_theta").is_some_and(Value::is_null);
        let mut scaling: Option<RopeScaling> = None;
        for (name, object) in objects {
            match object {
                Value::Null => continue,
                Value::Object(entries) if entries.is_empty() => continue,
                Value::Object(_) => {}
                other => return Err(self.wrong(name, format!("{other} should be an object"))),
            }
            if is_null(object) {
                return Err(self.null(&format!("{name}.rope_theta")));
            }
            let here = self.rope_scaling(name, object)?;
            let theta_here = self.number(object, "rope_theta")?;
            let theta_agrees = theta.zip(theta_here).is_none_or(|(one, other)| one == other);
            if !theta_agrees || scaling.as_ref().is_some_and(|before| *before != here) {
                let reason = "contradicts rope_theta or rope_scaling, and versions of transformers read one or the other; \
                              keep the right one";
                return Err(self.wrong(name, reason.to_owned()));
            }
            theta = theta.or(theta_here);
            scaling = Some(here);
        }
        if theta.is_none() && is_null(self.json) {
            return Err(self.null("rope_theta"));
        }
        Ok((theta, scaling.unwrap_or(RopeScaling::None)))
    }

    fn rope_scaling(&self, name: &str, rope: &Value) -> Result<RopeScaling> {
        let wrong = |key: &str, reason: String| Err(self.wrong(&format!("{name}.{key}"), reason));
        let mut kind = None;
        for key in ["rope_type", "type"] {
            match &rope[key] {
                Value::Null => {}
                Value::String(text) if kind.is_none_or(|other| other == text) => kind = Some(text.as_str()),
                other => {
                    return wrong(
                        key,
                        format!("{other} should be the name of the scaling, one name under rope_type and type"),
                    );
                }
            }
        }
        let needed = |key: &str| match rope[key].as_f64().filter(|x| x.is_finite() && *x > 0.0) {
            Some(number) => Ok(number),
            None => {
                let reason = format!("{} scaling needs a positive number here", kind.unwrap_or_default());
                Err(self.wrong(&format!("{name}.{key}"), reason))
            }
        };
        let (scaling, read): (_, &[&str]) = match kind {
            None | Some("default") => (RopeScaling::None, &[]),
            Some("linear") => (RopeScaling::Linear { factor: needed("factor")? }, &["factor"]),
            Some("llama3") => {
                let (low, high) = (needed("low_freq_factor")?, needed("high_freq_factor")?);
                let positions = needed("original_max_position_embeddings")?;
                if high <= low {
                    return wrong("high_freq_factor", format!("{high} should be above low_freq_factor, {low}"));
                }
                let outer = "original_max_position_embeddings";
                if self.number(self.json, outer)?.is_some_and(|outer| outer != positions) {
                    return Err(
                        self.wrong(outer, format!("contradicts {name}, which has {positions}; keep the right one"))
                    );
                }
                let scaling = RopeScaling::Llama3 {
                    factor: needed("factor")?,
                    low_freq_factor: low,
                    high_freq_factor: high,
                    original_max_position_embeddings: positions,
                };
                (scaling, &["factor", "low_freq_factor", "high_freq_factor"])
            }
            // two names of one scaling
            Some("longrope" | "su") if self.family.has_longrope => {
                (self.longrope(name, rope)?, &["short_factor", "long_factor", "factor", "attention_factor"])
            }
            Some(other) => {
                let reason = format!(
                    "{other:?} is not supported; \"default\", \"linear\" and \"llama3\" are, so use a model with one of them"
                );
                return wrong("rope_type", reason);
            }
        };
        // what no kind reads, or reads as one, changes nothing
        for (key, value) in rope.as_object().into_iter().flatten() {
            let is_known = match key.as_str() {
                "rope_type" | "type" | "rope_theta" | "original_max_position_embeddings" => true,
                "partial_rotary_factor" if self.family.has_longrope => true,
                "partial_rotary_factor" => value.as_f64() == Some(1.0),
                "attention_factor" if !read.contains(&"attention_factor") => value.as_f64() == Some(1.0),
                "factor" if !read.contains(&"factor") => value.as_f64() == Some(1.0),
                other => read.contains(&other),
            };
            if !is_known && !value.is_null() {
                let kind = kind.unwrap_or("default");
                let reason = format!(
                    "{value} is not supported with rope_type {kind:?}; take it out of the file if it is a leftover, else use another model"
                );
                return wrong(key, reason);
            }
        }
        Ok(scaling)
    }
}
