// Shares: how the lanes of a head contract over tokens. A lane takes four features, a word of a plane, and where a head
// has fewer words than there are lanes, some of the blocks of 32 tokens.

struct Share {
    word: u32,
    part: u32,
    parts: u32,
}

// A lane that is left over gets a word of no feature.
fn share_of(lane: u32, head_dim: u32) -> Share {
    let words = plane_words(head_dim);
    var share = Share(lane, 0u, 1u);
    for (var end = words; end + words <= HEAD_LANES && share.parts < 16u; end += words) {
        share.parts++;
        if lane >= end {
            share.word -= words;
            share.part++;
        }
    }
    return share;
}

// Words of a plane that hold features.
fn plane_words(head_dim: u32) -> u32 {
    return (head_dim + 3u) >> 2u;
}

// Of a block, Σ weight · feature for four features, by products of planes: each ≤ 2^7 · 2^7 · 2 · 32.
struct Products {
    high: vec4<i32>,
    middle: vec4<i32>,
    low: vec4<i32>,
}

// With four tokens more: their weights, |.| ≤ 2^14, and their words of the two planes.
fn with_four(products: Products, weights: vec4<i32>, high_words: vec4<u32>, low_words: vec4<u32>) -> Products {
    let high = transpose_bytes(high_words);
    let low = transpose_bytes(low_words);
    let weights_high = wide_high(weights);
    let weights_low = wide_low(weights);
    return Products(
        products.high + dot_columns(high, weights_high),
        products.middle + dot_columns(high, weights_low) + dot_columns(low, weights_high),
        products.low + dot_columns(low, weights_low),
    );
}

// Four i64.
struct Quad {
    x: vec2<u32>,
    y: vec2<u32>,
    z: vec2<u32>,
    w: vec2<u32>,
}

// sums + products · 2^shift.
fn add_shares(sums: Quad, products: Products, shift: i32) -> Quad {
    return Quad(
        add_64(sums.x, align_64(join_planes(products.high.x, products.middle.x, products.low.x), shift)),
        add_64(sums.y, align_64(join_planes(products.high.y, products.middle.y, products.low.y), shift)),
        add_64(sums.z, align_64(join_planes(products.high.z, products.middle.z, products.low.z), shift)),
        add_64(sums.w, align_64(join_planes(products.high.w, products.middle.w, products.low.w), shift)),
    );
}

// The sum over all parts of a word, for the lane of part 0.
fn share_sum(lane: u32, head_dim: u32, share: Share, value: vec2<u32>) -> vec2<u32> {
    head_lanes[lane] = value;
    workgroupBarrier();
    var sum = value;
    if share.part == 0u {
        for (var i = 1u; i < share.parts; i++) {
            sum = add_64(sum, head_lanes[lane + i * plane_words(head_dim)]);
        }
    }
    workgroupBarrier();
    return sum;
}

// The same of four.
fn share_sums(lane: u32, head_dim: u32, share: Share, values: Quad) -> Quad {
    let x = share_sum(lane, head_dim, share, values.x);
    let y = share_sum(lane, head_dim, share, values.y);
    let z = share_sum(lane, head_dim, share, values.z);
    return Quad(x, y, z, share_sum(lane, head_dim, share, values.w));
}

// The i-th of a share's four sums; 0 where it is of no feature, or not this lane's to write.
fn feature_of(share: Share, head_dim: u32, sums: Quad, i: u32) -> vec2<u32> {
    let c = (share.word << 2u) + i;
    if share.part != 0u || c >= head_dim {
        return vec2(0u);
    }
    return select(select(sums.x, sums.y, i == 1u), select(sums.z, sums.w, i == 3u), i >= 2u);
}
