// Lanes: the invocations of a workgroup that together compute a row or a head, and what they know of each other.
// All of them call these functions; a lane's own value goes in, the same answer comes out everywhere.

// Invocations of a workgroup that computes a row: the kernel's @workgroup_size.
const LANES = 256u;
// Of one that computes a head.
const HEAD_LANES = 128u;
// This many lanes reduce 16 of 256 or 8 of 128 each, and all reduce what they found.
const LANE_GROUPS = 16u;

var<workgroup> lanes: array<vec4<u32>, LANES>;
var<workgroup> lane_groups: array<vec4<u32>, LANE_GROUPS>;

// Two 64-bit integers as one vec4: the larger of each, unsigned.
fn max_pair(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return vec4(max_64(a.xy, b.xy), max_64(a.zw, b.zw));
}

// The sum of each mod 2^64.
fn add_pair(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return vec4(add_64(a.xy, b.xy), add_64(a.zw, b.zw));
}

// The largest over a row's lanes of two magnitudes.
fn row_max(lane: u32, pair: vec4<u32>) -> vec4<u32> {
    return lanes_max(lane, LANES, pair);
}

// The sums over a row's lanes, mod 2^64, of two integers.
fn row_sum(lane: u32, pair: vec4<u32>) -> vec4<u32> {
    return lanes_sum(lane, LANES, pair);
}

// The largest value over a head's lanes; its sign is flipped, so that order without sign is its order.
fn head_max(lane: u32, value: i32) -> i32 {
    let biased = bitcast<u32>(value) ^ 0x80000000u;
    return bitcast<i32>(lanes_max(lane, HEAD_LANES, vec4(biased, vec3(0u))).x ^ 0x80000000u);
}

// The sum over a head's lanes, mod 2^64.
fn head_sum(lane: u32, value: vec2<u32>) -> vec2<u32> {
    return lanes_sum(lane, HEAD_LANES, vec4(value, vec2(0u))).xy;
}

// The largest values, by component, of the 32 lanes of this lane's block.
fn block_max(lane: u32, value: vec2<u32>) -> vec2<u32> {
    lanes[lane] = vec4(value, vec2(0u));
    workgroupBarrier();
    let first = lane & 0xe0u;
    var largest = lanes[first].xy;
    for (var i = 1u; i < 32u; i++) {
        largest = max(largest, lanes[first + i].xy);
    }
    workgroupBarrier();
    return largest;
}

// No lane still reads `lanes` when this is called again: all have passed its second barrier.
fn lanes_max(lane: u32, count: u32, pair: vec4<u32>) -> vec4<u32> {
    lanes[lane] = pair;
    workgroupBarrier();
    if lane < LANE_GROUPS {
        var best = pair;
        for (var i = lane + LANE_GROUPS; i < count; i += LANE_GROUPS) {
            best = max_pair(best, lanes[i]);
        }
        lane_groups[lane] = best;
    }
    workgroupBarrier();
    var best = lane_groups[0];
    for (var i = 1u; i < LANE_GROUPS; i++) {
        best = max_pair(best, lane_groups[i]);
    }
    return best;
}

// As lanes_max.
fn lanes_sum(lane: u32, count: u32, pair: vec4<u32>) -> vec4<u32> {
    lanes[lane] = pair;
    workgroupBarrier();
    if lane < LANE_GROUPS {
        var sum = pair;
        for (var i = lane + LANE_GROUPS; i < count; i += LANE_GROUPS) {
            sum = add_pair(sum, lanes[i]);
        }
        lane_groups[lane] = sum;
    }
    workgroupBarrier();
    var sum = lane_groups[0];
    for (var i = 1u; i < LANE_GROUPS; i++) {
        sum = add_pair(sum, lane_groups[i]);
    }
    return sum;
}
