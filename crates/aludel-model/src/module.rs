//! The linears of a layer, under the names that checkpoints give them.

/// A linear of a decoder layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Module {
    /// Queries.
    QProj,
    /// Keys.
    KProj,
    /// Values.
    VProj,
    /// Attention output.
    OProj,
    /// The gate of the gated activation.
    GateProj,
    /// What the gate multiplies.
    UpProj,
    /// Back to the residual stream.
    DownProj,
    /// Queries, keys and values in one, in this order.
    QkvProj,
    /// The gate and what it multiplies in one.
    GateUpProj,
}

/// Number of kinds of linears. A layer has some of them.
pub const MODULES: usize = 9;

/// The most linears that one stands for.
pub const MOST_PARTS: usize = 3;

/// Number of places in a layer that a linear can have.
pub const SITES: usize = 7;

impl Module {
    /// All linears: those of most families, in the order of a forward, and those that stand for several of them.
    pub const ALL: [Module; MODULES] = [
        Module::QProj,
        Module::KProj,
        Module::VProj,
        Module::OProj,
        Module::GateProj,
        Module::UpProj,
        Module::DownProj,
        Module::QkvProj,
        Module::GateUpProj,
    ];

    /// The linears of a layer where each stands alone, in the order of a forward.
    pub const APART: &[Module] = {
        const ALL: &[Module] = &Module::ALL;
        ALL.split_at(SITES).0
    };

    /// The linears of a layer where those that read one input are one, in the order of a forward.
    pub const FUSED: &[Module] = &[Module::QkvProj, Module::OProj, Module::GateUpProj, Module::DownProj];

    /// The linears that this one stands for, in the order of its outputs; none if it stands for itself alone.
    pub fn parts(self) -> &'static [Module] {
        match self {
            Module::QkvProj => &[Module::QProj, Module::KProj, Module::VProj],
            Module::GateUpProj => &[Module::GateProj, Module::UpProj],
            _ => &[],
        }
    }

    /// The linear's place in a layer: a mix of it and the layer's number is what dropout draws for.
    pub fn site(self) -> usize {
        match self {
            Module::QkvProj => Module::QProj as usize,
            Module::GateUpProj => Module::GateProj as usize,
            other => other as usize,
        }
    }

    /// The short name, `q_proj`: what users list as a target.
    pub fn name(self) -> &'static str {
        match self {
            Module::QProj => "q_proj",
            Module::KProj => "k_proj",
            Module::VProj => "v_proj",
            Module::OProj => "o_proj",
            Module::GateProj => "gate_proj",
            Module::UpProj => "up_proj",
            Module::DownProj => "down_proj",
            Module::QkvProj => "qkv_proj",
            Module::GateUpProj => "gate_up_proj",
        }
    }

    /// The path inside a layer, `self_attn.q_proj`.
    pub fn path(self) -> &'static str {
        match self {
            Module::QProj => "self_attn.q_proj",
            Module::KProj => "self_attn.k_proj",
            Module::VProj => "self_attn.v_proj",
            Module::OProj => "self_attn.o_proj",
            Module::GateProj => "mlp.gate_proj",
            Module::UpProj => "mlp.up_proj",
            Module::DownProj => "mlp.down_proj",
            Module::QkvProj => "self_attn.qkv_proj",
            Module::GateUpProj => "mlp.gate_up_proj",
        }
    }

    /// The linear's place in the GGUF naming of llama.cpp, `attn_q`.
    pub fn gguf_name(self) -> &'static str {
        match self {
            Module::QProj => "attn_q",
            Module::KProj => "attn_k",
            Module::VProj => "attn_v",
            Module::OProj => "attn_output",
            Module::GateProj => "ffn_gate",
            Module::UpProj => "ffn_up",
            Module::DownProj => "ffn_down",
            Module::QkvProj => "attn_qkv",
            Module::GateUpProj => "ffn_up",
        }
    }

    /// The linear with that short name.
    pub fn from_name(name: &str) -> Option<Module> {
        Module::ALL.into_iter().find(|module| module.name() == name)
    }

    /// The linear with that path inside a layer.
    pub fn from_path(path: &str) -> Option<Module> {
        Module::ALL.into_iter().find(|module| module.path() == path)
    }
}
