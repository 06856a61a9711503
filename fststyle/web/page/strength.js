// The scale of strengths, and sliders for them.

import { $, say } from "./dom.js";

const STRONGEST = 4; // for styles with a dial, as in fststyle/styles/dial.py

/** Return the strength at a position of the dial's scale, on which 0, ¼, ½, 1, 2, 4 are even. */
export function strengthAt(position) {
  return position < 0.2 ? 1.25 * position : 2 ** (5 * position - 3);
}

/** Return the position of a strength on the dial's scale, from 0 to 1. */
export function positionOf(strength) {
  return strength < 0.25 ? strength / 1.25 : (Math.log2(strength) + 3) / 5;
}

/** Return the largest strength that suits all styles. */
export function strongest(styles) {
  return styles.length > 0 && styles.every(({ dial }) => dial) ? STRONGEST : 1;
}

/** The slider `id`, whose text is the element `id-value`, and whose marks are `id-marks`. */
export class StrengthSlider {
  #input;
  #most = 1;
  #usual = 1;
  #chosen = null; // by the visitor

  constructor(id) {
    this.#input = $(id);
    this.#input.addEventListener("input", () => {
      const share = Number(this.#input.value) / 100;
      this.choose(this.#most > 1 ? strengthAt(share) : share);
    });
  }

  get strength() {
    return Math.min(this.#most, this.#chosen ?? this.#usual);
  }

  /** Set the strength. */
  choose(strength) {
    this.#chosen = Number(strength.toFixed(2));
    this.#show();
  }

  /** Use the range of some styles. Until a strength is chosen, it is `usual`. */
  follow(styles, usual = styles[0]?.recommended_strength ?? 1) {
    this.#most = strongest(styles);
    this.#usual = usual;
    this.#show();
  }

  #show() {
    const { strength } = this;
    const hasDial = this.#most > 1;
    this.#input.value = 100 * (hasDial ? positionOf(strength) : strength);
    const text = hasDial ? String(strength) : `${Math.round(100 * strength)} %`;
    say($(`${this.#input.id}-value`), text);
    this.#input.setAttribute("aria-valuetext", text);
    $(`${this.#input.id}-marks`).hidden = !hasDial;
  }
}
