//! A linear layer with frozen weights and, if it is adapted, LoRA factors: `y = x · wᵀ + scaling · x · aᵀ · b`.

/// The LoRA factors of one adapted linear layer.
#[derive(Clone, Copy)]
pub struct Lora<'a> {
    pub a: &'a [f64], // [rank, in_features]
    pub b: &'a [f64], // [rank, out_features]
    pub rank: usize,
    /// The factor by which the LoRA product is multiplied: alpha / rank.
    pub scaling: f64,
}

pub fn linear_forward(
    x: &[f64], // [tokens, in_features]
    w: &[f64], // [out_features, in_features]
    in_features: usize,
    lora: Option<Lora<'_>>,
) -> Vec<f64> // y [tokens, out_features]
{
    let mut y = times_transposed(x, w, in_features);
    if let Some(Lora { a, b, rank, scaling }) = lora {
        let u = times_transposed(x, a, in_features); // [tokens, rank]
        add(&mut y, &times(&u, b, rank), scaling);
    }
    y
}

pub fn linear_backward(
    dy: &[f64], // [tokens, out_features]
    x: &[f64],  // [tokens, in_features]
    w: &[f64],  // [out_features, in_features]
    in_features: usize,
    lora: Option<(Lora<'_>, [&mut [f64]; 2])>, // with grad_a [rank, in_features], grad_b [rank, out_features]
) -> Vec<f64> // dx [tokens, in_features]
{
    let out_features = w.len() / in_features;
    let mut dx = times(dy, w, out_features);
    if let Some((Lora { a, b, rank, scaling }, [grad_a, grad_b])) = lora {
        let u = times_transposed(x, a, in_features); // [tokens, rank]
        let v = times_transposed(dy, b, out_features); // [tokens, rank]
        add(grad_a, &transposed_times(&v, x, rank, in_features), scaling);
        add(grad_b, &transposed_times(&u, dy, rank, out_features), scaling);
        add(&mut dx, &times(&v, a, rank), scaling);
    }
    dx
}

/// Returns `x · yᵀ [m, n]` for `x [m, k]` and `y [n, k]`.
pub fn times_transposed(x: &[f64], y: &[f64], k: usize) -> Vec<f64> {
    let rows = x.chunks_exact(k).flat_map(|x| y.chunks_exact(k).map(move |y| dot(x, y)));
    rows.collect()
}

/// Returns `x · y [m, n]` for `x [m, k]` and `y [k, n]`.
pub fn times(x: &[f64], y: &[f64], k: usize) -> Vec<f64> {
    let n = y.len() / k;
    let mut out = vec![0.0; x.len() / k * n];
    for (x, out) in x.chunks_exact(k).zip(out.chunks_exact_mut(n)) {
        x.iter().zip(y.chunks_exact(n)).for_each(|(x, y)| add(out, y, *x));
    }
    out
}

/// Returns `xᵀ · y [m, n]` for `x [k, m]` and `y [k, n]`.
fn transposed_times(x: &[f64], y: &[f64], m: usize, n: usize) -> Vec<f64> {
    let mut out = vec![0.0; m * n];
    for (x, y) in x.chunks_exact(m).zip(y.chunks_exact(n)) {
        x.iter().zip(out.chunks_exact_mut(n)).for_each(|(x, out)| add(out, y, *x));
    }
    out
}

/// Returns the dot product of `x` and `y`. For speed, it is computed as eight independent sums.
pub fn dot(x: &[f64], y: &[f64]) -> f64 {
    let ((xs, x_rest), (ys, y_rest)) = (x.as_chunks::<8>(), y.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (x, y) in xs.iter().zip(ys) {
        sums.iter_mut().zip(x.iter().zip(y)).for_each(|(sum, (x, y))| *sum += x * y);
    }
    let rest: f64 = x_rest.iter().zip(y_rest).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f64>() + rest
}

/// Computes `out += factor · x`.
pub fn add(out: &mut [f64], x: &[f64], factor: f64) {
    out.iter_mut().zip(x).for_each(|(out, x)| *out += factor * x);
}
