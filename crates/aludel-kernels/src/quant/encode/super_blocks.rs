//! The types of 256 elements: groups with small whole numbers as scales under one f16 scale. Groups are fitted first, their scales are
//! rounded, and the codes are then those that are nearest with the rounded scales.

use half::f16;

use super::search::{Fit, affine, nearest, symmetric};
use super::{codes, error_weights};
use crate::quant::SUPER;
use crate::simd::{Isa, multiversion};

/// Elements in a group of Q4_K and Q5_K.
const GROUP: usize = 32;
/// Groups of those in a block.
const GROUPS: usize = SUPER / GROUP;
/// The largest scale of a group there, of 6 bits.
const LARGEST_SCALE: f32 = 63.0;
/// Elements in a group of Q6_K.
const FINE: usize = 16;

multiversion! {
    fn fit_groups(x: &[f32; SUPER], importance: Option<&[f32; SUPER]>, levels: f32) -> [Fit; GROUPS] {
        let importance = importance.map(|importance| importance.as_chunks::<GROUP>().0);
        let groups = x.as_chunks::<GROUP>().0;
        std::array::from_fn(|n| {
            let weights = error_weights(&groups[n], importance.map(|groups| &groups[n]));
            affine(&groups[n], &weights, levels, true)
        })
    }
}

/// A block with scales and minima of 6 bits: the two f16 scales, the packed small ones, and the codes.
struct Affine {
    scale: f16,
    minimum: f16,
    packed: [u8; 12],
    codes: [u8; SUPER],
}

fn with_minima(isa: Isa, x: &[f32; SUPER], importance: Option<&[f32; SUPER]>, largest_code: f32) -> Affine {
    let fits = fit_groups(isa, x, importance, largest_code);
    let rounded = |of: &dyn Fn(&Fit) -> f32| {
        let largest = fits.iter().map(of).fold(0f32, f32::max);
        let scale = f16::from_f32(largest / LARGEST_SCALE);
        let inverse = if scale == f16::ZERO { 0.0 } else { 1.0 / scale.to_f32() };
        let small = |fit| nearest((of(fit) * inverse).clamp(0.0, LARGEST_SCALE)) as u8;
        let small: [u8; GROUPS] = std::array::from_fn(|n| small(&fits[n]));
        (scale, small)
    };
    let (scale, scales) = rounded(&|fit| fit.scale);
    let (minimum, minima) = rounded(&|fit| -fit.minimum);
    let mut packed = [0u8; 12];
    for n in 0..GROUPS {
        if n < 4 {
            (packed[n], packed[n + 4]) = (packed[n] | scales[n], packed[n + 4] | minima[n]);
        } else {
            packed[n + 4] = scales[n] & 15 | minima[n] << 4;
            packed[n - 4] |= scales[n] >> 4 << 6;
            packed[n] |= minima[n] >> 4 << 6;
        }
    }
    let codes_for = |scale: f16, minimum: f16| {
        let mut all = [0u8; SUPER];
        let groups = x.as_chunks::<GROUP>().0.iter().zip(all.as_chunks_mut::<GROUP>().0);
        for (n, (group, out)) in groups.enumerate() {
            let (scale, minimum) = (scale.to_f32() * f32::from(scales[n]), minimum.to_f32() * f32::from(minima[n]));
            *out = codes(group, scale, -minimum, largest_code);
        }
        all
    };
    let first = codes_for(scale, minimum);
    let (scale, minimum) = refitted(x, importance, &first, &scales, &minima).unwrap_or((scale, minimum));
    Affine { scale, minimum, packed, codes: codes_for(scale, minimum) }
}

/// The two scales of a block that are best for its codes and small scales, by weighted least squares; nothing where they are no scales.
fn refitted(
    x: &[f32; SUPER],
    importance: Option<&[f32; SUPER]>,
    codes: &[u8; SUPER],
    scales: &[u8; GROUPS],
    minima: &[u8; GROUPS],
) -> Option<(f16, f16)> {
    // An element is scale · a − minimum · b.
    let (mut aa, mut ab, mut bb, mut ax, mut bx) = (0f64, 0f64, 0f64, 0f64, 0f64);
    for (n, group) in x.as_chunks::<GROUP>().0.iter().enumerate() {
        let weights = error_weights(group, importance.map(|all| &all.as_chunks::<GROUP>().0[n]));
        let (mut c, mut cc, mut cx, mut w, mut wx) = (0f32, 0f32, 0f32, 0f32, 0f32);
        for ((x, weight), code) in group.iter().zip(weights).zip(&codes[n * GROUP..]) {
            let weighted = weight * f32::from(*code);
            c += weighted;
            cc += weighted * f32::from(*code);
            cx += weighted * x;
            w += weight;
            wx += weight * x;
        }
        let (scale, minimum) = (f64::from(scales[n]), f64::from(minima[n]));
        aa += scale * scale * f64::from(cc);
        ab += scale * minimum * f64::from(c);
        bb += minimum * minimum * f64::from(w);
        ax += scale * f64::from(cx);
        bx += minimum * f64::from(wx);
    }
    let (scale, minimum) = if bb > 0.0 {
        let determinant = aa * bb - ab * ab;
        ((ax * bb - bx * ab) / determinant, (ax * ab - bx * aa) / determinant)
    } else {
        (ax / aa, 0.0)
    };
    let is_scale = |scale: f16| scale.is_finite() && scale >= f16::ZERO;
    let (scale, minimum) = (f16::from_f64(scale), f16::from_f64(minimum));
    (is_scale(scale) && is_scale(minimum) && scale > f16::ZERO).then_some((scale, minimum))
}

/// Of each two groups, the first in the low halves of 32 bytes and the second in the high ones.
fn nibbles(codes: &[u8; SUPER]) -> impl Iterator<Item = u8> + '_ {
    codes.chunks_exact(2 * GROUP).flat_map(|two| (0..GROUP).map(|i| two[i] & 15 | two[i + GROUP] << 4))
}

/// `[d f16][dmin f16][scales 12][nibbles 128]`.
pub(super) fn q4_k(isa: Isa, x: &[f32; SUPER], importance: Option<&[f32; SUPER]>, out: &mut Vec<u8>) {
    let block = with_minima(isa, x, importance, 15.0);
    out.extend(block.scale.to_le_bytes());
    out.extend(block.minimum.to_le_bytes());
    out.extend(block.packed);
    out.extend(nibbles(&block.codes));
}

/// `[d f16][dmin f16][scales 12][fifth bits 32][nibbles 128]`.
pub(super) fn q5_k(isa: Isa, x: &[f32; SUPER], importance: Option<&[f32; SUPER]>, out: &mut Vec<u8>) {
    let block = with_minima(isa, x, importance, 31.0);
    out.extend(block.scale.to_le_bytes());
    out.extend(block.minimum.to_le_bytes());
    out.extend(block.packed);
    let fifth = |i: usize| (0..GROUPS).fold(0u8, |bits, n| bits | (block.codes[n * GROUP + i] >> 4 & 1) << n);
    out.extend((0..GROUP).map(fifth));
    out.extend(nibbles(&block.codes));
}

multiversion! {
    fn fit_fine_groups(x: &[f32; SUPER], importance: Option<&[f32; SUPER]>) -> [Fit; SUPER / FINE] {
        let importance = importance.map(|importance| importance.as_chunks::<FINE>().0);
        let groups = x.as_chunks::<FINE>().0;
        std::array::from_fn(|n| {
            let weights = error_weights(&groups[n], importance.map(|groups| &groups[n]));
            symmetric(&groups[n], &weights, 32.0)
        })
    }
}

/// `[low nibbles 128][upper pairs 64][scales 16][d f16]`.
pub(super) fn q6_k(isa: Isa, x: &[f32; SUPER], importance: Option<&[f32; SUPER]>, out: &mut Vec<u8>) {
    let fits = fit_fine_groups(isa, x, importance);
    let extreme =
        fits.iter().fold(0f32, |extreme, fit| if fit.scale.abs() > extreme.abs() { fit.scale } else { extreme });
    // the group of the largest scale gets −128, the end that reaches further
    let scale = f16::from_f32(extreme / -128.0);
    let inverse = if scale == f16::ZERO { 0.0 } else { 1.0 / scale.to_f32() };
    let scales = fits.map(|fit| nearest((fit.scale * inverse).clamp(-128.0, 127.0)) as i8);
    let mut all = [32u8; SUPER];
    let groups = x.as_chunks::<FINE>().0.iter().zip(all.as_chunks_mut::<FINE>().0);
    for (n, (group, out)) in groups.enumerate() {
        let scale = scale.to_f32() * f32::from(scales[n]);
        if scale != 0.0 {
            *out = codes(group, scale, -32.0 * scale, 63.0);
        }
    }
    let (mut low, mut high) = ([0u8; SUPER / 2], [0u8; SUPER / 4]);
    for half in 0..2 {
        for i in 0..32 {
            let code = |quarter: usize| all[half * 128 + quarter * 32 + i];
            low[half * 64 + i] = code(0) & 15 | code(2) << 4;
            low[half * 64 + 32 + i] = code(1) & 15 | code(3) << 4;
            high[half * 32 + i] = (0..4).fold(0, |bits, quarter| bits | code(quarter) >> 4 << (2 * quarter));
        }
    }
    out.extend(low);
    out.extend(high);
    out.extend(scales.map(|scale| scale as u8));
    out.extend(scale.to_le_bytes());
}
