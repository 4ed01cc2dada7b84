/** Characters that JSON leaves as they are and that a terminal may obey: DEL, C1 controls, marks of the direction of text. */
const OBEYED = /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g

/** JSON on one line, in ASCII where a terminal would not show a character but obey it. */
export function toJson(value: unknown): string {
  return JSON.stringify(value).replace(
    OBEYED,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
