// Calculations with images for runner.js, the same as in the Python package.
//
// Images are { width, height, planes: [red, green, blue] }, each a Float32Array in [0, 1].
// Strengths are numbers, or a plane: a Float32Array with one for each pixel.

const LANCZOS = { reach: 3, weight: (x) => (Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0) };
const BILINEAR = { reach: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) };
const DETAIL = 0.5; // as in fststyle/stylize/strokes.py
const LUMINANCE = [0.299, 0.587, 0.114];

/** Round as Python does: halves go to the nearest even number. */
export function round(value) {
  const low = Math.floor(value);
  const rest = value - low;
  if (rest !== 0.5) return rest < 0.5 ? low : low + 1;
  return low % 2 === 0 ? low : low + 1;
}

export function fromBytes(data, width, height) {
  const planes = [0, 1, 2].map(() => new Float32Array(width * height));
  for (let i = 0, at = 0; i < width * height; i += 1, at += 4) {
    for (let c = 0; c < 3; c += 1) planes[c][i] = data[at + c] / 255;
  }
  const weights = Float32Array.from({ length: width * height }, (_, i) => (data[4 * i + 3] ? 1 : 0));
  const image = { width, height, planes };
  fillInvisible(image, weights);
  return image;
}

/**
 * Replace the colours of invisible pixels, whose weight is 0, with those of the visible pixels
 * around them, taken from blocks of 2×2, 4×4, … pixels.
 */
function fillInvisible({ width, height, planes }, weights) {
  if (width * height === 1 || weights.every((weight) => weight > 0)) return;
  const [columns, rows] = [Math.ceil(width / 2), Math.ceil(height / 2)];
  const blockOf = (i) => (Math.floor(i / width) >> 1) * columns + ((i % width) >> 1);
  const blockWeights = new Float32Array(columns * rows);
  const blocks = planes.map(() => new Float32Array(columns * rows));
  weights.forEach((weight, i) => {
    blockWeights[blockOf(i)] += weight;
    blocks.forEach((block, c) => (block[blockOf(i)] += weight * planes[c][i]));
  });
  for (const block of blocks) {
    blockWeights.forEach((weight, k) => (block[k] /= Math.max(1, weight)));
  }
  fillInvisible({ width: columns, height: rows, planes: blocks }, blockWeights);
  weights.forEach((weight, i) => {
    if (weight === 0) planes.forEach((plane, c) => (plane[i] = blocks[c][blockOf(i)]));
  });
}

/** Return the strengths in a map's RGBA bytes: the brightness of each pixel times its opacity. */
export function strengthsIn(data) {
  const strengths = new Float32Array(data.length / 4);
  for (let i = 0, at = 0; i < strengths.length; i += 1, at += 4) {
    strengths[i] = (luma(data[at], data[at + 1], data[at + 2]) * data[at + 3]) / 255 ** 2;
  }
  return strengths;
}

/** Write an image into the photo's RGBA bytes, keeping the photo's transparency. */
export function intoBytes({ planes, width, height }, data) {
  for (let i = 0, at = 0; i < width * height; i += 1, at += 4) {
    for (let c = 0; c < 3; c += 1) data[at + c] = round(clamp(planes[c][i]) * 255);
  }
}

/** Resize with a Lanczos filter, as Pillow does. */
export function resize(image, width, height) {
  if (image.width === width && image.height === height) return image;
  const resized = resizePlanes(image, width, height, LANCZOS);
  for (const plane of resized.planes) plane.forEach((value, i) => (plane[i] = clamp(value)));
  return resized;
}

/** Stretch strengths to another size, if they are a plane of `size`. */
export function stretch(strengths, size, width, height) {
  if (typeof strengths === "number") return strengths;
  if (size.width === width && size.height === height) return strengths;
  const map = { width: size.width, height: size.height, planes: [strengths] };
  return resizePlanes(map, width, height, BILINEAR).planes[0];
}

function resizePlanes(image, width, height, filter) {
  const across = weights(image.width, width, filter);
  const down = weights(image.height, height, filter);
  const planes = image.planes.map((plane) => {
    const narrow = new Float32Array(width * image.height);
    for (let y = 0; y < image.height; y += 1) {
      const row = y * image.width;
      for (let x = 0; x < width; x += 1) {
        const { first, share } = across[x];
        let sum = 0;
        for (let k = 0; k < share.length; k += 1) sum += plane[row + first + k] * share[k];
        narrow[y * width + x] = sum;
      }
    }
    const result = new Float32Array(width * height);
    for (let y = 0; y < height; y += 1) {
      const { first, share } = down[y];
      for (let x = 0; x < width; x += 1) {
        let sum = 0;
        for (let k = 0; k < share.length; k += 1) sum += narrow[(first + k) * width + x] * share[k];
        result[y * width + x] = sum;
      }
    }
    return result;
  });
  return { width, height, planes };
}

function weights(before, after, filter) {
  const scale = before / after;
  const stretched = Math.max(1, scale);
  const reach = filter.reach * stretched;
  return Array.from({ length: after }, (_, i) => {
    const center = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - reach + 0.5));
    const end = Math.min(before, Math.trunc(center + reach + 0.5));
    const share = Float64Array.from({ length: end - first }, (_, k) =>
      filter.weight((k + first - center + 0.5) / stretched),
    );
    const total = share.reduce((sum, value) => sum + value, 0);
    return { first, share: share.map((value) => value / total) };
  });
}

function sinc(x) {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

/** Return the weighted mean of images with the same size. The weights must add up to 1. */
export function mix(images, shares) {
  if (images.length === 1) return images[0];
  return create(images[0], (c, i) =>
    clamp(images.reduce((sum, image, n) => sum + shares[n] * image.planes[c][i], 0)),
  );
}

/** Blend two images: shares of 0 give the first, 1 the second. Shares are like strengths. */
export function between(start, end, shares) {
  if (shares === 1) return end;
  return create(start, (c, i) => {
    const share = typeof shares === "number" ? shares : shares[i];
    return clamp((1 - share) * start.planes[c][i] + share * end.planes[c][i]);
  });
}

/** Upscale a stylised image and add the photo's fine luminance detail, lost by downscaling. */
export function upscale(image, input, photo) {
  const { width, height } = photo;
  const painted = resize(image, width, height);
  const plain = resize(input, width, height);
  for (let i = 0; i < width * height; i += 1) {
    let lost = 0;
    for (let c = 0; c < 3; c += 1) {
      lost += LUMINANCE[c] * (photo.planes[c][i] - plain.planes[c][i]);
    }
    for (let c = 0; c < 3; c += 1) {
      painted.planes[c][i] = clamp(painted.planes[c][i] + DETAIL * lost);
    }
  }
  return painted;
}

/** Apply the photo's colours to an image. Out-of-range colours are desaturated, not clipped. */
export function withColorsOf(photo, image) {
  const result = create(photo, () => 0);
  const color = [0, 0, 0];
  for (let i = 0; i < photo.width * photo.height; i += 1) {
    const [level, own] = [image, photo].map(({ planes: [r, g, b] }) => luma(r[i], g[i], b[i]));
    let fits = 1;
    for (let c = 0; c < 3; c += 1) {
      color[c] = photo.planes[c][i] - own;
      const room = color[c] > 0 ? 1 - level : level;
      fits = Math.min(fits, room / Math.max(Math.abs(color[c]), 1e-6));
    }
    fits = Math.max(0, fits);
    for (let c = 0; c < 3; c += 1) result.planes[c][i] = clamp(level + color[c] * fits);
  }
  return result;
}

function luma(red, green, blue) {
  return green + 0.2126 * (red - green) + 0.0722 * (blue - green);
}

/** Make an image from a function of channel and index. */
function create({ width, height }, value) {
  const planes = [0, 1, 2].map((c) => {
    const plane = new Float32Array(width * height);
    for (let i = 0; i < plane.length; i += 1) plane[i] = value(c, i);
    return plane;
  });
  return { width, height, planes };
}

function clamp(value) {
  return value < 0 ? 0 : value > 1 ? 1 : value;
}
