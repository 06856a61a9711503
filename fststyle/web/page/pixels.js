// The mathematics of strokes, strength and colours, as the server's Python does it.
// A picture is { width, height, planes: [red, green, blue] }, each a Float32Array in [0, 1].

const LOBES = 3; // Lanczos
const DETAIL = 0.5; // strokes.py
const WORKING_SIDE = 1280;
const LUMINANCE = [0.299, 0.587, 0.114];

export function defaultScale(width, height) {
  return Math.max(1, Math.max(width, height) / WORKING_SIDE);
}

/** As Python rounds: halves to the even number. */
export function round(value) {
  const low = Math.floor(value);
  const rest = value - low;
  if (rest !== 0.5) return rest < 0.5 ? low : low + 1;
  return low % 2 === 0 ? low : low + 1;
}

export function fromBytes({ data, width, height }) {
  const planes = [0, 1, 2].map(() => new Float32Array(width * height));
  for (let i = 0, at = 0; i < width * height; i += 1, at += 4) {
    for (let c = 0; c < 3; c += 1) planes[c][i] = data[at + c] / 255;
  }
  return { width, height, planes };
}

/** Write a picture into the RGBA bytes of its photo, whose transparency stays. */
export function intoBytes({ planes, width, height }, data) {
  for (let i = 0, at = 0; i < width * height; i += 1, at += 4) {
    for (let c = 0; c < 3; c += 1) data[at + c] = round(clamp(planes[c][i]) * 255);
  }
}

/** Resize with Lanczos's filter as pillow does. */
export function resize(picture, width, height) {
  if (picture.width === width && picture.height === height) return picture;
  const across = weights(picture.width, width);
  const down = weights(picture.height, height);
  const planes = picture.planes.map((plane) => {
    const narrow = new Float32Array(width * picture.height);
    for (let y = 0; y < picture.height; y += 1) {
      const row = y * picture.width;
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
        result[y * width + x] = clamp(sum);
      }
    }
    return result;
  });
  return { width, height, planes };
}

function weights(before, after) {
  const scale = before / after;
  const stretch = Math.max(1, scale);
  const reach = LOBES * stretch;
  return Array.from({ length: after }, (_, i) => {
    const center = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - reach + 0.5));
    const end = Math.min(before, Math.trunc(center + reach + 0.5));
    const share = Float64Array.from({ length: end - first }, (_, k) =>
      lanczos((k + first - center + 0.5) / stretch),
    );
    const total = share.reduce((sum, value) => sum + value, 0);
    return { first, share: share.map((value) => value / total) };
  });
}

function lanczos(x) {
  if (x <= -LOBES || x >= LOBES) return 0;
  return sinc(x) * sinc(x / LOBES);
}

function sinc(x) {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

/** Mix pictures of one size by weights that add up to 1. */
export function mix(pictures, shares) {
  if (pictures.length === 1) return pictures[0];
  return map(pictures[0], (c, i) =>
    clamp(pictures.reduce((sum, picture, n) => sum + shares[n] * picture.planes[c][i], 0)),
  );
}

export function between(start, end, amount) {
  if (amount === 1) return end;
  return map(start, (c, i) =>
    clamp((1 - amount) * start.planes[c][i] + amount * end.planes[c][i]),
  );
}

/** Enlarge a stylised picture, and put the photo's fine luminance back. */
export function enlarge(picture, seen, photo) {
  const { width, height } = photo;
  const painted = resize(picture, width, height);
  const plain = resize(seen, width, height);
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

/** The luma of the picture, the colour differences of the photo; what leaves the range pales. */
export function keepColors(photo, picture) {
  const result = map(photo, () => 0);
  const color = [0, 0, 0];
  for (let i = 0; i < photo.width * photo.height; i += 1) {
    const level = luma(picture.planes, i);
    const own = luma(photo.planes, i);
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

function luma([red, green, blue], i) {
  return green[i] + 0.2126 * (red[i] - green[i]) + 0.0722 * (blue[i] - green[i]);
}

function map({ width, height }, value) {
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
