//! Which linears get an adapter, by PEFT's own rules, under the names of the family and under those that all families share: a part of
//! a fused linear (`q_proj` of `qkv_proj`) is named as if it stood alone. PEFT knows the fused linears only, so what is saved names
//! these: see `resolved`.

use std::path::Path;

use aludel_formats::peft::{AdapterConfig, Rules, TargetModules};
use serde_json::Value;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::layout::module_path;
use crate::module::{MOST_PARTS, Module};

/// A linear that gets an adapter: its layer, its rank and its scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// The layer's number.
    pub layer: usize,
    /// The linear in it.
    pub module: Module,
    /// The rank of its adapter.
    pub r: usize,
    /// The factor before B·A.
    pub scale: f64,
    /// Where parts of a fused linear have adapters of their own: the rank of each, in the order of [`Module::parts`], 0 for one without.
    /// The rank of the whole is their sum.
    pub part_ranks: Option<[usize; MOST_PARTS]>,
}

/// The linears that a config means, by PEFT's rules, layer by layer. Where all parts of a fused linear are named alike, it gets one adapter,
/// as PEFT gives it.
///
/// # Errors
/// [`Error::Target`] for a name that matches nothing, or if nothing is matched; [`Error::Layer`]; [`Error::Parts`]; those of [`Rules::new`].
pub fn targets(model: &Config, adapter: &AdapterConfig) -> Result<Vec<Target>> {
    check_layers(model, adapter)?;
    for (key, names) in [("target_modules", &adapter.target_modules), ("exclude_modules", &adapter.exclude_modules)] {
        if let Some(TargetModules::Names(names)) = names
            && let Some(name) = names.iter().find(|name| !is_end_of_a_path(model, name))
        {
            return Err(Error::Target { key, name: name.clone(), known: known(model) });
        }
    }
    let rules = rules(model, adapter)?;
    if let Some(TargetModules::Pattern(pattern)) = &adapter.exclude_modules
        && !pattern.is_empty()
        && !excludes_any(model, &rules)?
    {
        return Err(Error::Target { key: "exclude_modules", name: pattern.clone(), known: known(model) });
    }
    let mut targets = Vec::new();
    for (layer, module) in linears(model) {
        targets.extend(target(&rules, adapter.use_dora, layer, module)?);
    }
    if !targets.is_empty() {
        return Ok(targets);
    }
    let name = match &adapter.target_modules {
        Some(TargetModules::Pattern(pattern)) => pattern.clone(),
        Some(TargetModules::Names(names)) => names.join(", "),
        None => String::new(),
    };
    if adapter.exclude_modules.as_ref().is_some_and(|excluded| !excluded.is_empty()) {
        return Err(Error::Parts {
            key: "exclude_modules",
            reason: format!(
                "nothing is left of lora.target_modules ({name}); take names out of lora.exclude_modules, or add some to \
                 lora.target_modules: this model has {}",
                known(model)
            ),
        });
    }
    Err(Error::Target { key: "target_modules", name, known: known(model) })
}

/// The adapter of one linear.
fn target(rules: &Rules, use_dora: bool, layer: usize, module: Module) -> Result<Option<Target>> {
    let path = module_path(layer, module);
    let is_whole = rules.is_target(&path)?;
    if !is_whole && rules.is_excluded(&path)? {
        return Ok(None);
    }
    let mut parts = [None; MOST_PARTS];
    for (found, &part) in parts.iter_mut().zip(module.parts()) {
        let of_part = module_path(layer, part);
        let is_named = if is_whole { !rules.is_excluded(&of_part)? } else { rules.is_target(&of_part)? };
        if is_named {
            *found = Some(rules.rank_and_scale_of_part(&of_part, &path)?);
        }
    }
    let parts = &parts[..module.parts().len()];
    let whole = |(r, scale)| Ok(Some(Target { layer, module, r, scale, part_ranks: None }));
    if is_whole && parts.is_empty() {
        return whole((rules.rank(&path)?, rules.scale(&path)?));
    }
    let Some(&first) = parts.iter().flatten().next() else { return Ok(None) };
    if parts.iter().all(|part| *part == Some(first)) {
        return whole(first);
    }
    let wrong = |key, reason| Err(Error::Parts { key, reason });
    let scale = first.1;
    if parts.iter().flatten().any(|(_, other)| *other != scale) {
        let named: Vec<String> = named(module, parts)
            .map(|(part, (r, scale))| format!("{} (rank {r}, scale {scale})", part.name()))
            .collect();
        return wrong(
            "alpha_pattern",
            format!(
                "{} are parts of {path}, and PEFT has one scale for all of it; give each a value of lora.alpha_pattern for which the scales are \
                 equal, or the same rank and alpha",
                named.join(" and ")
            ),
        );
    }
    if use_dora && parts.iter().any(Option::is_none) {
        return wrong(
            "use_dora",
            format!(
                "DoRA trains a magnitude for each row of {path}, those of parts that lora.target_modules leaves out too; name {} there, or set \
                 lora.use_dora = false",
                module.name()
            ),
        );
    }
    let mut ranks = [0; MOST_PARTS];
    for (rank, part) in ranks.iter_mut().zip(parts) {
        *rank = part.map_or(0, |(r, _)| r);
    }
    Ok(Some(Target { layer, module, r: ranks.iter().sum(), scale, part_ranks: Some(ranks) }))
}

fn named<'a, T: Copy>(module: Module, parts: &'a [Option<T>]) -> impl Iterator<Item = (Module, T)> + 'a {
    module.parts().iter().zip(parts).filter_map(|(&part, found)| Some((part, (*found)?)))
}

/// The config that PEFT reads these targets from: as it is given if PEFT's rules find the same in it, else in the names of the linears
/// that the model has, with their ranks and alphas.
pub(super) fn resolved(model: &Config, adapter: &AdapterConfig, targets: &[Target]) -> Result<AdapterConfig> {
    let given = rules(model, adapter)?;
    let at = |layer: usize, module: Module| targets.iter().find(|t| (t.layer, t.module) == (layer, module));
    let mut is_same = true;
    for (layer, module) in linears(model) {
        let path = module_path(layer, module);
        is_same &= match at(layer, module) {
            None => !given.is_target(&path)?,
            Some(target) => {
                given.is_target(&path)? && (given.rank(&path)?, given.scale(&path)?) == (target.r, target.scale)
            }
        };
    }
    if is_same {
        return Ok(adapter.clone());
    }
    let of = |module: Module| targets.iter().filter(move |target| target.module == module);
    let mut modules = model.modules().to_vec();
    modules.sort_by_key(|module| *module as usize);
    modules.retain(|&module| of(module).next().is_some());
    let names = if modules.iter().all(|&module| of(module).count() == model.num_hidden_layers) {
        modules.iter().map(|module| module.name().to_owned()).collect()
    } else {
        modules.iter().flat_map(|&module| of(module)).map(|target| module_path(target.layer, target.module)).collect()
    };
    let alpha = |target: &Target| {
        let r = target.r as f64;
        target.scale * if adapter.use_rslora { r.sqrt() } else { r }
    };
    let mut config = AdapterConfig {
        target_modules: Some(TargetModules::Names(names)),
        exclude_modules: None,
        rank_pattern: by_name(&modules, of, &|target| target.r, adapter.r),
        alpha_pattern: by_name(&modules, of, &alpha, adapter.lora_alpha),
        ..adapter.clone()
    };
    for key in ["layers_to_transform", "layers_pattern"] {
        config.other.insert(key.to_owned(), Value::Null);
    }
    Ok(config)
}

/// Values by the names of linears, or by their paths where they differ from layer to layer; none for those that have the usual one.
fn by_name<'a, V: PartialEq + Copy, P: FromIterator<(String, V)>, I: Iterator<Item = &'a Target>>(
    modules: &[Module],
    of: impl Fn(Module) -> I,
    value: &dyn Fn(&Target) -> V,
    usual: V,
) -> P {
    let mut found = Vec::new();
    for &module in modules {
        let Some(first) = of(module).next().map(value) else { continue };
        if of(module).all(|target| value(target) == first) {
            found.push((module.name().to_owned(), first));
        } else {
            // a pattern, in which a dot would mean any character
            let path = |target: &Target| module_path(target.layer, module).replace('.', r"\.");
            found.extend(of(module).map(|target| (path(target), value(target))));
        }
    }
    found.into_iter().filter(|(_, value)| *value != usual).collect()
}

/// What is to be said of names that mean parts of fused linears: one sentence for each fused linear.
///
/// # Errors
/// As [`targets`].
pub fn notes_on_parts(model: &Config, adapter: &AdapterConfig) -> Result<Vec<String>> {
    let (rules, targets) = (rules(model, adapter)?, targets(model, adapter)?);
    let mut notes = Vec::new();
    for &module in model.modules() {
        let Some(target) = targets.iter().find(|target| target.module == module) else { continue };
        let Target { layer, r, part_ranks, .. } = *target;
        let name = module.name();
        match part_ranks {
            None if rules.is_target(&module_path(layer, module))? => {}
            None => {
                let parts = listed(module.parts());
                notes.push(format!(
                    "lora.target_modules: {parts} are one linear in this model, so one adapter of rank {r} is trained on {name}, as PEFT \
                     has it"
                ));
            }
            Some(ranks) => {
                let adapted: Vec<Module> =
                    module.parts().iter().zip(ranks).filter(|(_, r)| *r > 0).map(|(part, _)| *part).collect();
                let (parts, are) = (listed(&adapted), if adapted.len() == 1 { "is a part" } else { "are parts" });
                notes.push(format!(
                    "lora.target_modules: {parts} {are} of {name} in this model; what is saved is one adapter of rank {r} on {name}, whose \
                     B is zero outside of the blocks of {parts}, as PEFT loads it"
                ));
            }
        }
    }
    Ok(notes)
}

fn listed(modules: &[Module]) -> String {
    let names: Vec<&str> = modules.iter().map(|module| module.name()).collect();
    match names.as_slice() {
        [most @ .., last] if !most.is_empty() => format!("{} and {last}", most.join(", ")),
        _ => names.concat(),
    }
}

pub(super) fn rules(model: &Config, adapter: &AdapterConfig) -> Result<Rules> {
    Ok(Rules::new(adapter, Path::new("lora"), model.family.default_targets.unwrap_or_default())?)
}

fn linears(model: &Config) -> impl Iterator<Item = (usize, Module)> {
    (0..model.num_hidden_layers).flat_map(|layer| model.modules().iter().map(move |&module| (layer, module)))
}

/// PEFT would say nothing of layers that do not exist.
fn check_layers(model: &Config, adapter: &AdapterConfig) -> Result<()> {
    let layers = model.num_hidden_layers;
    let given = adapter.other.get("layers_to_transform").and_then(Value::as_array);
    match given.into_iter().flatten().filter_map(Value::as_u64).find(|&layer| layer >= layers as u64) {
        Some(layer) => Err(Error::Layer { layer, layers }),
        None => Ok(()),
    }
}

fn is_end_of_a_path(model: &Config, name: &str) -> bool {
    paths(model).any(|path| path == name || path.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')))
}

fn excludes_any(model: &Config, rules: &Rules) -> Result<bool> {
    for path in paths(model) {
        if rules.is_excluded(&path)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The paths of all linears and of their parts.
fn paths(model: &Config) -> impl Iterator<Item = String> {
    linears(model).flat_map(|(layer, module)| {
        std::iter::once(module).chain(module.parts().iter().copied()).map(move |module| module_path(layer, module))
    })
}

/// The names of a model's linears and of their parts, for messages.
fn known(config: &Config) -> String {
    let names = config.modules().iter().map(|module| match module.parts() {
        [] => module.name().to_owned(),
        parts => {
            let parts: Vec<&str> = parts.iter().map(|part| part.name()).collect();
            format!("{} (with its parts {})", module.name(), parts.join(", "))
        }
    });
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;

    fn model(family: &str) -> Config {
        let class = if family == "phi3" { "Phi3ForCausalLM" } else { "LlamaForCausalLM" };
        let text = format!(
            r#"{{"model_type": "{family}", "architectures": ["{class}"], "vocab_size": 100, "hidden_size": 8, "intermediate_size": 8,
            "num_hidden_layers": 12, "num_attention_heads": 1, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
            "eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 0}}"#
        );
        Config::from_hf(&serde_json::from_str(&text).unwrap(), "config.json".as_ref()).unwrap()
    }

    fn names(names: &[&str]) -> Option<TargetModules> {
        Some(TargetModules::Names(names.iter().map(|&name| name.to_owned()).collect()))
    }

    fn pattern(pattern: &str) -> Option<TargetModules> {
        Some(TargetModules::Pattern(pattern.to_owned()))
    }

    #[test]
    fn targets_are_those_that_peft_means() {
        let found = |target_modules, exclude_modules| {
            let config = AdapterConfig { target_modules, exclude_modules, ..AdapterConfig::default() };
            targets(&model("llama"), &config)
                .map(|targets| targets.iter().map(|t| (t.layer, t.module)).collect::<Vec<_>>())
        };
        let of = |layers: &[usize], module| layers.iter().map(|&layer| (layer, module)).collect::<Vec<_>>();
        assert_eq!(found(names(&["layers.1.mlp.up_proj"]), None).unwrap(), of(&[1], Module::UpProj));
        assert_eq!(
            found(pattern(r"model\.layers\.1[01]\.self_attn\.k_proj"), None).unwrap(),
            of(&[10, 11], Module::KProj)
        );
        assert_eq!(found(pattern(r".*\.[0-1]\..*q_proj"), None).unwrap(), of(&[0, 1], Module::QProj));
        assert_eq!(found(pattern("all-linear"), None).unwrap().len(), 12 * 7);
        assert_eq!(found(pattern("all-linear"), names(&["q_proj", "layers.3.mlp.up_proj"])).unwrap().len(), 12 * 6 - 1);
        assert_eq!(
            found(names(&["q_proj"]), pattern(r".*\.[2-9]\..*|.*\.1.\..*")).unwrap(),
            of(&[0, 1], Module::QProj)
        );
        assert_eq!(found(None, None).unwrap().len(), 12 * 2, "PEFT's default: queries and values");
        for (nothing, excluded, said) in [
            (names(&["q_proj", "qkv_proj"]), None, "lora.target_modules: \"qkv_proj\" matches no linear"),
            // the whole path has to match
            (pattern("q_proj"), None, "\"q_proj\" matches no linear"),
            (names(&["proj"]), None, "\"proj\" matches no linear"),
            (names(&["layers.12.mlp.up_proj"]), None, "matches no linear"),
            (pattern("all-linear"), names(&["w_proj"]), "lora.exclude_modules: \"w_proj\" matches no linear"),
            (pattern("all-linear"), pattern("[kq]_proj"), "lora.exclude_modules: \"[kq]_proj\" matches no linear"),
            (names(&["q_proj"]), names(&["q_proj"]), "lora.exclude_modules: nothing is left"),
        ] {
            let error = found(nothing, excluded).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("q_proj, k_proj"), "{error}");
        }
    }

    /// The targets of a Phi-3 in layer 7, and what PEFT reads of the config that is saved.
    fn on_phi3(config: &AdapterConfig) -> Vec<(Module, usize, f64, Option<[usize; MOST_PARTS]>)> {
        let model = model("phi3");
        let targets = targets(&model, config).unwrap();
        let saved = resolved(&model, config, &targets).unwrap();
        let read = rules(&model, &saved).unwrap();
        for (layer, module) in linears(&model) {
            let path = module_path(layer, module);
            let target = targets.iter().find(|t| (t.layer, t.module) == (layer, module));
            assert_eq!(read.is_target(&path).unwrap(), target.is_some(), "{path} of {saved:?}");
            if let Some(target) = target {
                assert_eq!(read.rank(&path).unwrap(), target.r, "{path} of {saved:?}");
                assert!((read.scale(&path).unwrap() / target.scale - 1.0).abs() < 1e-12, "{path} of {saved:?}");
            }
        }
        // what is saved means itself
        assert_eq!(resolved(&model, &saved, &targets).unwrap(), saved);
        let of_layer = targets.iter().filter(|target| target.layer == 7);
        of_layer.map(|t| (t.module, t.r, t.scale, t.part_ranks)).collect()
    }

    #[test]
    fn names_of_parts_mean_the_fused_linear_or_blocks_of_it() {
        let of = |target_modules| AdapterConfig { target_modules, lora_alpha: 16.0, ..AdapterConfig::default() };
        let whole = |module| (module, 8, 2.0, None);
        let attention = [whole(Module::QkvProj), whole(Module::OProj)];
        assert_eq!(on_phi3(&of(names(&["q_proj", "k_proj", "v_proj", "o_proj"]))), attention);
        assert_eq!(on_phi3(&of(names(&["qkv_proj", "o_proj", "q_proj"]))), attention);
        assert_eq!(
            on_phi3(&of(pattern(r".*\.([qkv]|gate|up)_proj"))),
            [Module::QkvProj, Module::GateUpProj].map(whole)
        );
        assert_eq!(on_phi3(&of(pattern("all-linear"))).len(), 4);
        let blocks = |ranks: [usize; MOST_PARTS]| (Module::QkvProj, ranks.iter().sum(), 2.0, Some(ranks));
        assert_eq!(on_phi3(&of(names(&["q_proj", "v_proj"]))), [blocks([8, 0, 8])]);
        assert_eq!(on_phi3(&of(names(&["layers.7.mlp.up_proj"]))), [(Module::GateUpProj, 8, 2.0, Some([0, 8, 0]))]);
        // excluded parts of a linear that is named whole
        let config =
            AdapterConfig { exclude_modules: names(&["k_proj", "mlp.down_proj"]), ..of(pattern("all-linear")) };
        assert_eq!(on_phi3(&config), [blocks([8, 0, 8]), whole(Module::OProj), whole(Module::GateUpProj)]);
        // in some layers only, with rsLoRA
        let mut config = AdapterConfig { use_rslora: true, ..of(names(&["q_proj", "v_proj", "o_proj"])) };
        config.other.insert("layers_to_transform".to_owned(), serde_json::json!([0, 7]));
        let scale = 16.0 / 8f64.sqrt();
        assert_eq!(on_phi3(&config), [(Module::QkvProj, 16, scale, Some([8, 0, 8])), (Module::OProj, 8, scale, None)]);
        // ranks of their own, and one scale
        let values = |pairs: &[(&str, f64)]| pairs.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
        let ranks = |pairs: &[(&str, usize)]| pairs.iter().map(|&(name, r)| (name.to_owned(), r)).collect();
        let three = || of(names(&["q_proj", "k_proj", "v_proj"]));
        let config = AdapterConfig {
            rank_pattern: ranks(&[("q_proj", 4)]),
            alpha_pattern: values(&[("q_proj", 8.0)]),
            ..three()
        };
        assert_eq!(on_phi3(&config), [blocks([4, 8, 8])]);
        let pattern_of_whole = ranks(&[("qkv_proj", 4)]);
        let config = AdapterConfig { rank_pattern: pattern_of_whole, ..of(names(&["q_proj", "v_proj"])) };
        assert_eq!(on_phi3(&config), [(Module::QkvProj, 8, 4.0, Some([4, 0, 4]))]);
        let config = AdapterConfig {
            rank_pattern: ranks(&[("up_proj", 2)]),
            alpha_pattern: values(&[("up_proj", 4.0)]),
            ..of(names(&["gate_up_proj"]))
        };
        assert_eq!(on_phi3(&config), [(Module::GateUpProj, 10, 2.0, Some([8, 2, 0]))]);
        let config = AdapterConfig { rank_pattern: ranks(&[(r"layers\.7\..*\.[qkv]_proj", 4)]), ..three() };
        assert_eq!(on_phi3(&config), [(Module::QkvProj, 4, 4.0, None)]);
    }

    #[test]
    fn parts_that_cannot_be_one_adapter_are_refused_with_what_can() {
        fn check<T: Debug>(found: Result<T>, said: &[&str]) {
            let error = found.unwrap_err().to_string();
            said.iter().for_each(|part| assert!(error.contains(part), "{error}\nlacks {part}"));
        }
        let phi3 = model("phi3");
        let of = |names_: &[&str]| AdapterConfig { target_modules: names(names_), ..AdapterConfig::default() };
        let rank_pattern = std::iter::once(("q_proj".to_owned(), 4)).collect();
        check(
            targets(&phi3, &AdapterConfig { rank_pattern, ..of(&["q_proj", "v_proj"]) }),
            &["lora.alpha_pattern", "q_proj (rank 4, scale 2) and v_proj (rank 8, scale 1)", "qkv_proj"],
        );
        check(
            targets(&phi3, &AdapterConfig { use_dora: true, ..of(&["up_proj"]) }),
            &["lora.use_dora", "name gate_up_proj", "lora.use_dora = false"],
        );
        check(targets(&phi3, &of(&["w_proj"])), &["qkv_proj (with its parts q_proj, k_proj, v_proj), o_proj, gate_up"]);
    }

    #[test]
    fn what_names_of_parts_mean_is_said_once() {
        let said = |family: &str, names_: &[&str]| {
            let config = AdapterConfig { target_modules: names(names_), ..AdapterConfig::default() };
            notes_on_parts(&model(family), &config).unwrap().join("\n")
        };
        assert_eq!(said("llama", &["q_proj", "v_proj"]), "");
        assert_eq!(said("phi3", &["qkv_proj", "o_proj"]), "");
        assert_eq!(
            said("phi3", &["q_proj", "k_proj", "v_proj", "up_proj"]),
            "lora.target_modules: q_proj, k_proj and v_proj are one linear in this model, so one adapter of rank 8 is trained on qkv_proj, as \
             PEFT has it\n\
             lora.target_modules: up_proj is a part of gate_up_proj in this model; what is saved is one adapter of rank 8 on gate_up_proj, \
             whose B is zero outside of the blocks of up_proj, as PEFT loads it"
        );
        assert_eq!(
            said("phi3", &["q_proj", "v_proj"]),
            "lora.target_modules: q_proj and v_proj are parts of qkv_proj in this model; what is saved is one adapter of rank 16 on qkv_proj, \
             whose B is zero outside of the blocks of q_proj and v_proj, as PEFT loads it"
        );
    }
}
