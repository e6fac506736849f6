//! Choosing scale, minimum and codes of a group of weights. A scale fixes the codes by rounding, and codes fix the best scale by weighted
//! least squares: both are tried from several starting points around the range of the group, and the fit with the least error is kept.
//! Sums run in eight lanes, so that they are vector instructions and the same on every processor.

/// A group's scale and minimum; an element is `scale * code + minimum`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fit {
    pub(super) scale: f32,
    pub(super) minimum: f32,
}

/// Magnitudes below which a group is all zeros.
const NOTHING: f32 = 1e-15;

/// The nearest whole number of a small one, ties to even: adding 1.5 · 2²³ leaves no place for a fraction.
#[inline(always)]
pub(super) fn nearest(x: f32) -> f32 {
    const MAGIC: f32 = 12_582_912.0;
    (x + MAGIC) - MAGIC
}

/// Σ w·c, Σ w·c² and Σ w·c·x.
struct Sums {
    c: f32,
    cc: f32,
    cx: f32,
}

const LANES: usize = 8;

#[inline(always)]
fn total(lanes: [f32; LANES]) -> f32 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// The sums over codes that are `x * inverse - shift`, rounded and kept within `least` and `most`.
#[inline(always)]
fn sums<const N: usize>(x: &[f32; N], w: &[f32; N], inverse: f32, shift: f32, least: f32, most: f32) -> Sums {
    let (mut c, mut cc, mut cx) = ([0f32; LANES], [0f32; LANES], [0f32; LANES]);
    for (x, w) in x.as_chunks::<LANES>().0.iter().zip(w.as_chunks::<LANES>().0) {
        for lane in 0..LANES {
            let code = nearest((x[lane] * inverse - shift).max(least).min(most));
            let weighted = w[lane] * code;
            c[lane] += weighted;
            cc[lane] += weighted * code;
            cx[lane] += weighted * x[lane];
        }
    }
    Sums { c: total(c), cc: total(cc), cx: total(cx) }
}

/// Codes from `-levels` to `levels - 1` around zero: the extreme gets the end that reaches further.
#[inline(always)]
pub(super) fn symmetric<const N: usize>(x: &[f32; N], w: &[f32; N], levels: f32) -> Fit {
    const STEPS: i32 = 9;
    const STEP: f32 = 0.1;
    let extreme = x.iter().fold(0f32, |extreme, &x| if x.abs() > extreme.abs() { x } else { extreme });
    if extreme.abs() < NOTHING {
        return Fit { scale: 0.0, minimum: 0.0 };
    }
    // What a fit takes off the error is Σ wcx · scale.
    let (mut scale, mut gain) = (-extreme / levels, 0f32);
    for step in -STEPS..=STEPS {
        let inverse = -(levels + STEP * step as f32) / extreme;
        let sums = sums(x, w, inverse, 0.0, -levels, levels - 1.0);
        if sums.cc > 0.0 && sums.cx * sums.cx > gain * sums.cc {
            scale = sums.cx / sums.cc;
            gain = scale * sums.cx;
        }
    }
    Fit { scale, minimum: 0.0 }
}

/// Codes from 0 to `levels` above a minimum, which is at most 0 where `is_below_zero`.
#[inline(always)]
pub(super) fn affine<const N: usize>(x: &[f32; N], w: &[f32; N], levels: f32, is_below_zero: bool) -> Fit {
    const STEPS: i32 = 20;
    const STEP: f32 = 0.1;
    let (mut least, mut most) = (x[0], x[0]);
    let (mut sum_w, mut sum_x) = ([0f32; LANES], [0f32; LANES]);
    for (x, w) in x.as_chunks::<LANES>().0.iter().zip(w.as_chunks::<LANES>().0) {
        for lane in 0..LANES {
            least = least.min(x[lane]);
            most = most.max(x[lane]);
            sum_w[lane] += w[lane];
            sum_x[lane] += w[lane] * x[lane];
        }
    }
    let (sum_w, sum_x) = (total(sum_w), total(sum_x));
    if is_below_zero {
        least = least.min(0.0);
    }
    let range = most - least;
    if range < NOTHING || sum_w <= 0.0 {
        return Fit { scale: 0.0, minimum: least };
    }
    let (mut fit, mut gain) = (Fit { scale: range / levels, minimum: least }, f32::NEG_INFINITY);
    for step in 0..=STEPS {
        // from one level less than the range has, so that its ends are cut, to one more, so that they are not reached
        let inverse = (levels - 1.0 + STEP * step as f32) / range;
        let sums = sums(x, w, inverse, least * inverse, 0.0, levels);
        let determinant = sum_w * sums.cc - sums.c * sums.c;
        if determinant <= 0.0 {
            continue;
        }
        let mut scale = (sum_w * sums.cx - sum_x * sums.c) / determinant;
        let mut minimum = (sums.cc * sum_x - sums.c * sums.cx) / determinant;
        if is_below_zero && minimum > 0.0 {
            (scale, minimum) = (sums.cx / sums.cc, 0.0);
        }
        let this = scale * sums.cx + minimum * sum_x;
        if scale > 0.0 && this > gain {
            (fit, gain) = (Fit { scale, minimum }, this);
        }
    }
    fit
}
