//! Tests the backward functions of the f64 reference, and the gradient of the whole network. Let `f` be a forward
//! function, `x` its input, and `weight` a random vector. The tests compare each element of a gradient with a central
//! difference: `d⟨weight, f(x)⟩/dx_i ≈ (f(x + e_i·ε) − f(x − e_i·ε)) · weight / 2ε`, where `e_i` is the i-th unit
//! vector and `ε` is a small number.

use super::cases::{self, Random};
use r3mes_reference::{
    attention::{Heads, attention_backward, attention_forward, rope},
    feed_forward::{gated_relu_squared_backward, gated_relu_squared_forward},
    head::{head_backward, head_forward},
    linear::{Lora, dot, linear_backward, linear_forward},
    network::{Adapter, Network},
    norm::{rms_norm_backward, rms_norm_forward},
    quantize::absmax_int8,
    rounding::exactly,
};

/// The step ε of a central difference. A central difference has two errors: one is proportional to ε², and the other,
/// which comes from rounding in f64, is proportional to 1/ε. With this ε, both are far below the tolerance.
const STEP: f64 = 1e-5;

fn randoms(random: &mut Random, len: usize) -> Vec<f64> {
    (0..len).map(|_| random.within(-1.0, 1.0)).collect()
}

/// Checks `grad`, the gradient of the scalar function `f` at `x`: every element must be close to the central difference
/// of `f` with respect to the same element of `x`.
fn check_gradient(what: &str, x: &[f64], grad: &[f64], f: impl Fn(&[f64]) -> f64) {
    assert_eq!(x.len(), grad.len());
    let mut x = x.to_vec();
    let size = dot(grad, grad).sqrt() / (grad.len() as f64).sqrt();
    assert!(size > 1e-6, "{what}: all gradients are nearly 0");
    for i in 0..x.len() {
        let at = x[i];
        let mut value = |to: f64| {
            x[i] = to;
            f(&x)
        };
        let difference = (value(at + STEP) - value(at - STEP)) / (2.0 * STEP);
        x[i] = at;
        let error = (difference - grad[i]).abs();
        assert!(error < 1e-6 * (size + grad[i].abs()), "{what}[{i}]: {} is not {difference}", grad[i]);
    }
}

#[test]
fn norm() {
    let (mut random, width) = (Random(1), 5);
    let (x, gain, dy) = (randoms(&mut random, 15), randoms(&mut random, width), randoms(&mut random, 15));
    let dx = rms_norm_backward(&dy, &x, &gain, 0.1);
    check_gradient("dx", &x, &dx, |x| dot(&dy, &rms_norm_forward(x, &gain, 0.1)));
}

#[test]
fn linear() {
    const RANK: usize = 2;
    let (mut random, tokens, in_features, out_features) = (Random(2), 3, 5, 4);
    let mut draw = |len| randoms(&mut random, len);
    let (x, w, dy) = (draw(tokens * in_features), draw(out_features * in_features), draw(tokens * out_features));
    let (a, b) = (draw(RANK * in_features), draw(RANK * out_features));
    fn lora<'a>(a: &'a [f64], b: &'a [f64]) -> Lora<'a> {
        Lora { a, b, rank: RANK, scaling: 1.5 }
    }
    let loss = |x: &[f64], a: &[f64], b: &[f64]| dot(&dy, &linear_forward(x, &w, in_features, Some(lora(a, b))));
    let [mut grad_a, mut grad_b] = [&a, &b].map(|factor| vec![0.0; factor.len()]);
    let dx = linear_backward(&dy, &x, &w, in_features, Some((lora(&a, &b), [&mut grad_a, &mut grad_b])));
    check_gradient("dx", &x, &dx, |x| loss(x, &a, &b));
    check_gradient("grad a", &a, &grad_a, |a| loss(&x, a, &b));
    check_gradient("grad b", &b, &grad_b, |b| loss(&x, &a, b));
    let dx = linear_backward(&dy, &x, &w, in_features, None);
    check_gradient("dx without LoRA", &x, &dx, |x| dot(&dy, &linear_forward(x, &w, in_features, None)));
}

#[test]
fn attention() {
    let (mut random, tokens, heads) = (Random(3), 5, Heads { heads: 6, kv_heads: 2, head_dim: 4 });
    let mut draw = |heads: usize| randoms(&mut random, tokens * heads * 4);
    let (q, k, v, dout) = (draw(6), draw(2), draw(2), draw(6));
    let loss = |q: &[f64], k: &[f64], v: &[f64]| dot(&dout, &attention_forward(q, k, v, heads));
    let [dq, dk, dv] = attention_backward(&dout, &q, &k, &v, heads);
    check_gradient("dq", &q, &dq, |q| loss(q, &k, &v));
    check_gradient("dk", &k, &dk, |k| loss(&q, k, &v));
    check_gradient("dv", &v, &dv, |v| loss(&q, &k, v));
}

#[test]
fn rotation() {
    let mut random = Random(4);
    let (x, dy) = (randoms(&mut random, 3 * 2 * 6), randoms(&mut random, 3 * 2 * 6));
    let turn = |x: &[f64], direction| {
        let mut x = x.to_vec();
        rope(&mut x, 2, 6, 100.0, direction);
        x
    };
    check_gradient("dx", &x, &turn(&dy, -1.0), |x| dot(&dy, &turn(x, 1.0)));
    // the pair (0, 3) of head 1 at position 2 is rotated by 2 radians
    let (at, y) = ((2 * 2 + 1) * 6, turn(&x, 1.0));
    assert!((y[at] - (x[at] * 2f64.cos() - x[at + 3] * 2f64.sin())).abs() < 1e-12);
}

#[test]
fn feed_forward() {
    let mut random = Random(5);
    let [gate, up, dy] = [(); 3].map(|()| randoms(&mut random, 20));
    let [dgate, dup] = gated_relu_squared_backward(&dy, &gate, &up);
    check_gradient("dgate", &gate, &dgate, |gate| dot(&dy, &gated_relu_squared_forward(gate, &up)));
    check_gradient("dup", &up, &dup, |up| dot(&dy, &gated_relu_squared_forward(&gate, up)));
}

#[test]
fn head() {
    let (mut random, width, vocab) = (Random(6), 4, 7);
    let (n, embedding) = (randoms(&mut random, 3 * width), randoms(&mut random, vocab * width));
    let labels = [Some(6), None, Some(2)];
    let loss = |n: &[f64]| head_forward(n, &embedding, &labels, width).0;
    let dn = head_backward(&head_forward(&n, &embedding, &labels, width).1, &embedding, width);
    check_gradient("dn", &n, &dn, loss);
    assert!(dn[width..2 * width].iter().all(|&d| d == 0.0));
}

#[test]
fn quantizer() {
    let mut x = [0.5, -2.0, 0.01, 1.0, 0.0];
    absmax_int8(&mut x);
    let steps = x.map(|x| x * 127.0 / 2.0);
    assert!(steps.iter().zip([32.0, -127.0, 1.0, 64.0, 0.0]).all(|(x, want)| (x - want).abs() < 1e-12), "{steps:?}");
    let mut zero = [0.0; 3];
    absmax_int8(&mut zero);
    assert_eq!(zero, [0.0; 3]);
}

/// Checks the gradient of every LoRA factor in the whole network. The network is computed without the quantizer, which
/// is not differentiable.
#[test]
fn network() {
    let config = r3mes_wgpu::model::config::ModelConfig {
        width: 12,
        ffn_width: 10,
        head_dim: 4,
        vocab: 9,
        context: 5,
        ..cases::small()
    };
    let targets = cases::targets(2);
    let model = cases::model(config, 5);
    let network = Network::new(&model, &targets.linears, exactly, exactly);
    let adapter = Adapter::new(&cases::adapter(&model.config, &targets, [1.7, 0.5], 5));
    let chunk = cases::text(9, 13, 5); // two sequences of 5, one of 3
    let (_, grads) = network.gradient(&adapter, &chunk);
    for (i, grad) in grads.iter().enumerate() {
        check_gradient(&format!("matrix {i}"), &adapter.matrices[i], grad, |values| {
            let mut changed = adapter.clone();
            changed.matrices[i] = values.to_vec();
            network.gradient(&changed, &chunk).0
        });
    }
}
