/** Texts that are cut off, damaged or enormous. */

export const ENORMOUS = 1_000_000

/** The text cut off at each character. */
export function truncations(text: string): string[] {
  return Array.from({ length: text.length }, (_, end) => text.slice(0, end))
}

/** The text with characters that no database protocol can carry, at its ends and in the middle, and enormous texts. */
export function damages(text: string): string[] {
  const middle = Math.floor(text.length / 2)
  const inserted = ['\0', '\ud800', '\udc00', '\x1b[2J', '\n'].flatMap((damage) =>
    [0, middle, text.length].map((at) => text.slice(0, at) + damage + text.slice(at)),
  )
  return [
    ...inserted,
    text.repeat(Math.ceil(ENORMOUS / Math.max(1, text.length))),
    'x'.repeat(ENORMOUS),
    '%'.repeat(ENORMOUS),
  ]
}

/** Values that are not strings, as a program without type checks may pass them. */
export const STRANGERS: readonly unknown[] = [
  ...[null, true, 0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, 10n ** 30n, Symbol('stranger')],
  ...[
    [],
    [[]],
    [null],
    ['a', 1],
    {},
    { a: 1 },
    { toString: null },
    new Date(0),
    /x/,
    () => 'source',
    new Map(),
    Buffer.alloc(1),
  ],
]
