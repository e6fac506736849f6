//! The parameters of a macro or a call block, and whether their defaults refer to each other. The grammar parses them.

/// One parameter.
pub(super) struct Parameter {
    pub(super) name: String,
    /// Its default, rewritten.
    pub(super) default: Option<String>,
    /// The names in its default.
    pub(super) mentioned: Vec<String>,
}

/// All parameters, in order.
pub(super) struct Parameters(pub(super) Vec<Parameter>);

impl Parameters {
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|parameter| parameter.name.as_str())
    }

    pub(super) fn default_of(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|parameter| parameter.name == name).and_then(|parameter| parameter.default.as_deref())
    }

    /// Whether a default reads a parameter.
    pub(super) fn has_entangled_default(&self) -> bool {
        self.0.iter().any(|parameter| parameter.mentioned.iter().any(|name| self.names().any(|other| other == name)))
    }

    pub(super) fn written(&self) -> String {
        let one = |parameter: &Parameter| match &parameter.default {
            Some(default) => format!("{}={default}", parameter.name),
            None => parameter.name.clone(),
        };
        self.0.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}
