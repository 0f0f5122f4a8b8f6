// The activation functions, by the numbers that the host gives them (HOW in src/devices/webgpu/program.ts).

fn activate(value: vec4f) -> vec4f {
  return select(ofNumber(value), value, isNaN(value));
}

fn ofNumber(value: vec4f) -> vec4f {
  switch step.activation {
    case 1u: {
      return gelu(value);
    }
    case 2u: {
      return max(value, vec4f(0.0));
    }
    case 3u: {
      return tanhOf(value);
    }
    case 4u: {
      return 1.0 / (1.0 + exp(-value));
    }
    default: {
      return value;
    }
  }
}

// tanh(x): near 0, where the difference below would lose digits, the polynomial of math.wasm.ts; else 1 - 2 / (e^2|x| + 1)
// with x's sign. Beyond 9.1 it is 1.
fn tanhOf(x: vec4f) -> vec4f {
  let size = abs(x);
  let z = x * x;
  var p = fma(vec4f(-5.70498872745e-3), z, vec4f(2.06390887954e-2));
  p = fma(p, z, vec4f(-5.37397155531e-2));
  p = fma(p, z, vec4f(1.33314422036e-1));
  p = fma(p, z, vec4f(-3.33332819422e-1));
  let far = 1.0 - 2.0 / (exp(2.0 * min(size, vec4f(9.1))) + 1.0);
  return select(select(far, -far, x < vec4f(0.0)), fma(p * z, x, x), size < vec4f(0.625));
}

// GELU(x) = x Phi(x) = h + |h| erf(sqrt(2) |h|) with h = x / 2, where erf is the quotient of two polynomials that
// math.wasm.ts has. WGSL's division may be 2.5 units off, so the error is below 6 U |x| and not below 4 U |x| as there.
// h is in the result itself: `min` may drop a NaN, and a sum does not.
fn gelu(x: vec4f) -> vec4f {
  let h = 0.5 * x;
  let v = min(abs(h), vec4f(2.78));
  let z = v * v;
  // Horner's rule, highest power first.
  var p = fma(vec4f(9.16788122e-5), z, vec4f(0.00650571426));
  p = fma(p, z, vec4f(0.0439755097));
  p = fma(p, z, vec4f(0.300469458));
  p = fma(p, z, vec4f(0.546587944));
  p = fma(p, z, vec4f(1.59576881));
  var q = fma(vec4f(0.00121538155), z, vec4f(0.0190708097));
  q = fma(q, z, vec4f(0.121677019));
  q = fma(q, z, vec4f(0.461107999));
  q = fma(q, z, vec4f(1.00918627));
  q = fma(q, z, vec4f(1.0));
  return fma(abs(h), min(v * p / q, vec4f(1.0)), h);
}
