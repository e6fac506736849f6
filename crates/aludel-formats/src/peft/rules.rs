//! PEFT's rules for the modules that an adapter applies to, and for their rank and alpha: those of
//! `check_target_module_exists` and `get_pattern_key`, on the path of the module in the base model. Which modules a
//! model has is left to `aludel-model`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use aludel_files::shortened;
use serde_json::Value;

use super::config::AdapterConfig;
use super::python_regex::{Compiler, Expression, Pattern, StepBudget};
use super::selection::{Patterns, TargetModules};
use crate::error::{Error, Result};

/// More patterns than any model has modules.
const MOST_PATTERNS: usize = 16_384;

/// The rules of one `adapter_config.json`.
pub struct Rules {
    config_path: PathBuf,
    targets: Modules,
    excluded: Option<Modules>,
    layers: Option<Layers>,
    ranks: Vec<(Pattern, usize)>,
    alphas: Vec<(Pattern, f64)>,
    r: usize,
    alpha: f64,
    use_rslora: bool,
    /// The backtracking steps that remain for all patterns together.
    steps: StepBudget,
}

/// Modules by their paths.
enum Modules {
    /// Every linear but the head.
    AllLinear,
    /// Whole paths, and ends of paths from a dot on.
    Names(HashSet<String>),
    /// A pattern for the whole path.
    Pattern(Pattern),
}

/// Numbers of layers, and where a path has its layer's number.
struct Layers {
    numbers: HashSet<u64>,
    places: Vec<Expression>,
}

impl Rules {
    /// Reads the rules of a config at `config_path`. `default_targets` are PEFT's for the model's family, where the config
    /// names none.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a pattern or list that PEFT would refuse, or that is not understood here.
    pub fn new(config: &AdapterConfig, config_path: &Path, default_targets: &[&str]) -> Result<Rules> {
        let wrong = |key: &str, reason: String| malformed(config_path, key, reason);
        let mut compiler = Compiler::new();
        let modules = |compiler: &mut Compiler, key: &str, modules: &TargetModules| match modules {
            TargetModules::Pattern(name) if key == "target_modules" && name.eq_ignore_ascii_case("all-linear") => {
                Ok(Modules::AllLinear)
            }
            TargetModules::Pattern(pattern) => {
                let compiled = compiler.whole(pattern);
                compiled.map(Modules::Pattern).map_err(|what| wrong(key, in_pattern(pattern, &what)))
            }
            TargetModules::Names(names) => Ok(Modules::Names(names.iter().cloned().collect())),
        };
        let default = TargetModules::Names(default_targets.iter().map(|&name| name.to_owned()).collect());
        let targets = config.target_modules.as_ref().unwrap_or(&default);
        Ok(Rules {
            config_path: config_path.to_owned(),
            targets: modules(&mut compiler, "target_modules", targets)?,
            // PEFT takes an empty list or text as none
            excluded: match config.exclude_modules.as_ref().filter(|excluded| !excluded.is_empty()) {
                Some(excluded) => Some(modules(&mut compiler, "exclude_modules", excluded)?),
                None => None,
            },
            layers: layers(config, matches!(targets, TargetModules::Pattern(_)), &mut compiler, &wrong)?,
            ranks: patterns("rank_pattern", &config.rank_pattern, &mut compiler, &wrong)?,
            alphas: patterns("alpha_pattern", &config.alpha_pattern, &mut compiler, &wrong)?,
            r: config.r,
            alpha: config.lora_alpha,
            use_rslora: config.use_rslora,
            steps: StepBudget::new(),
        })
    }

    /// Whether PEFT puts an adapter on the module with this path, `model.layers.0.self_attn.q_proj`.
    ///
    /// # Errors
    /// A pattern that takes too long.
    pub fn is_target(&self, module: &str) -> Result<bool> {
        if self.is_excluded(module)? {
            return Ok(false);
        }
        let is_found = self.holds("target_modules", &self.targets, module)?;
        match (&self.targets, &self.layers) {
            // A whole path names its layer itself.
            (Modules::Names(names), Some(layers)) if is_found && !names.contains(module) => {
                Ok(self.layer_of(layers, module)?.is_some_and(|layer| layers.numbers.contains(&layer)))
            }
            _ => Ok(is_found),
        }
    }

    /// Whether `exclude_modules` means a path, of a module or of anything else.
    ///
    /// # Errors
    /// A pattern that takes too long.
    pub fn is_excluded(&self, path: &str) -> Result<bool> {
        match &self.excluded {
            Some(excluded) => self.holds("exclude_modules", excluded, path),
            None => Ok(false),
        }
    }

    /// The rank of a module's adapter: that of the first pattern of `rank_pattern`, in the file's order, that matches, else `r`.
    ///
    /// # Errors
    /// A pattern that takes too long.
    pub fn rank(&self, module: &str) -> Result<usize> {
        Ok(self.first("rank_pattern", &self.ranks, module)?.unwrap_or(self.r))
    }

    /// The alpha of a module's adapter: that of the first pattern of `alpha_pattern`, in the file's order, that matches, else
    /// `lora_alpha`.
    ///
    /// # Errors
    /// A pattern that takes too long.
    pub fn alpha(&self, module: &str) -> Result<f64> {
        Ok(self.first("alpha_pattern", &self.alphas, module)?.unwrap_or(self.alpha))
    }

    /// The factor before B·A: alpha / r, or alpha / √r with rsLoRA.
    ///
    /// # Errors
    /// A pattern that takes too long.
    pub fn scale(&self, module: &str) -> Result<f64> {
        Ok(self.scale_of(self.alpha(module)?, self.rank(module)?))
    }

    /// The rank and the scale of a part of a module, by its own path or else by that of the module. PEFT has no such parts.
    ///
    /// # Errors
    /// A pattern that takes too long.
    pub fn rank_and_scale_of_part(&self, part: &str, module: &str) -> Result<(usize, f64)> {
        let r = match self.first("rank_pattern", &self.ranks, part)? {
            Some(r) => r,
            None => self.rank(module)?,
        };
        let alpha = match self.first("alpha_pattern", &self.alphas, part)? {
            Some(alpha) => alpha,
            None => self.alpha(module)?,
        };
        Ok((r, self.scale_of(alpha, r)))
    }

    fn scale_of(&self, alpha: f64, r: usize) -> f64 {
        let r = r as f64;
        alpha / if self.use_rslora { r.sqrt() } else { r }
    }

    fn holds(&self, key: &str, modules: &Modules, module: &str) -> Result<bool> {
        match modules {
            Modules::AllLinear => Ok(module != "lm_head" && !module.ends_with("embed_tokens")),
            Modules::Names(names) => {
                let ends = module.match_indices('.').map(|(at, _)| &module[at + 1..]);
                Ok(std::iter::once(module).chain(ends).any(|end| names.contains(end)))
            }
            Modules::Pattern(pattern) => {
                pattern.is_match(module, &self.steps).map_err(|(pattern, what)| self.too_slow(key, pattern, &what))
            }
        }
    }

    fn first<V: Copy>(&self, key: &str, patterns: &[(Pattern, V)], module: &str) -> Result<Option<V>> {
        for (pattern, value) in patterns {
            if pattern.is_match(module, &self.steps).map_err(|(pattern, what)| self.too_slow(key, pattern, &what))? {
                return Ok(Some(*value));
            }
        }
        Ok(None)
    }

    fn layer_of(&self, layers: &Layers, module: &str) -> Result<Option<u64>> {
        for place in &layers.places {
            let found = place.run(&self.steps, |regex| {
                let found = regex.captures(module)?;
                Ok(found.map(|found| found.name("idx").and_then(|number| number.as_str().parse().ok())))
            });
            if let Some(layer) = found.map_err(|what| self.too_slow("layers_pattern", place.as_str(), &what))? {
                return Ok(layer);
            }
        }
        Ok(None)
    }

    fn too_slow(&self, key: &str, pattern: &str, what: &str) -> Error {
        malformed(&self.config_path, key, in_pattern(pattern, what))
    }
}

fn malformed(path: &Path, key: &str, reason: String) -> Error {
    Error::Malformed { path: path.to_owned(), place: format!("key \"{key}\""), reason }
}

fn in_pattern(pattern: &str, what: &str) -> String {
    let shown = shortened(pattern, 80);
    format!("the pattern `{shown}`: {what}; write it in another way, with the names of the modules say")
}

/// Values by the ends of paths.
fn patterns<V: Copy>(
    key: &str,
    patterns: &Patterns<V>,
    compiler: &mut Compiler,
    wrong: &dyn Fn(&str, String) -> Error,
) -> Result<Vec<(Pattern, V)>> {
    let count = patterns.iter().count();
    if count > MOST_PATTERNS {
        return Err(wrong(key, format!("{count} patterns are more than the {MOST_PATTERNS} that are read; use fewer")));
    }
    let compiled = patterns.iter().map(|(pattern, value)| {
        Ok((compiler.end(pattern).map_err(|what| wrong(key, in_pattern(pattern, &what)))?, *value))
    });
    compiled.collect()
}

fn layers(
    config: &AdapterConfig,
    is_pattern: bool,
    compiler: &mut Compiler,
    wrong: &dyn Fn(&str, String) -> Error,
) -> Result<Option<Layers>> {
    let key = "layers_to_transform";
    let given = |key: &str| config.other.get(key).filter(|value| !value.is_null());
    let (numbers, places) = (given(key), given("layers_pattern"));
    for (key, value) in [(key, numbers), ("layers_pattern", places)] {
        if is_pattern && value.is_some() {
            let reason = "PEFT takes it only where target_modules is a list of names; put the layers into the pattern";
            return Err(wrong(key, reason.to_owned()));
        }
    }
    let number = |value: &Value| {
        let reason = || format!("{value} is no layer's number; whole numbers from 0 would be right");
        value.as_u64().ok_or_else(|| wrong(key, reason()))
    };
    let numbers: HashSet<u64> = match numbers {
        None => HashSet::new(),
        Some(Value::Array(numbers)) => numbers.iter().map(number).collect::<Result<_>>()?,
        Some(one) => HashSet::from([number(one)?]),
    };
    let mut pattern = |value: &Value| match value {
        Value::String(pattern) => {
            let whole = format!(r"\A(?:(?:^|.*?\.){pattern}\.(?P<idx>\d+)\.)");
            let compiled = compiler.compile(pattern, &whole);
            compiled.map_err(|what| wrong("layers_pattern", in_pattern(pattern, &what)))
        }
        other => Err(wrong("layers_pattern", format!("{other} is no text; a name such as \"layers\" would be right"))),
    };
    let mut places: Vec<Expression> = match places {
        None => Vec::new(),
        Some(Value::String(empty)) if empty.is_empty() => Vec::new(),
        Some(Value::Array(places)) => places.iter().map(&mut pattern).collect::<Result<_>>()?,
        Some(one) => vec![pattern(one)?],
    };
    if numbers.is_empty() {
        let reason = "PEFT takes it only together with layers_to_transform; remove it or add the layers";
        return if places.is_empty() || given(key).is_some() {
            Ok(None)
        } else {
            Err(wrong("layers_pattern", reason.to_owned()))
        };
    }
    if places.is_empty() {
        let any = r"\A.*?\.[^.]*\.(?P<idx>\d+)\.";
        places.push(compiler.compile(any, any).map_err(|what| wrong("layers_pattern", what))?);
    }
    Ok(Some(Layers { numbers, places }))
}
