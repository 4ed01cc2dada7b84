/** The hash chain of the lines that one writer adds to a file: each line has the hash of the one before. */

import { createHash, randomBytes } from 'node:crypto'

/** The part of a line that links it. */
export interface Link {
  /** The writer: another one after each start of a program. */
  readonly id: string
  /** From 1, without a gap. */
  readonly seq: number
  /** The hash of the line with the number before; of the first, of the line that the writer found at the end of the file. */
  readonly prev: string | null
}

/** SHA-256, in hex, of a line without its line break. */
export function lineHash(line: string | Uint8Array): string {
  return createHash('sha256').update(line).digest('hex')
}

export class Chain {
  readonly #id = randomBytes(8).toString('hex')
  #seq = 0
  #prev: string | null

  /** @param found the hash of the last line in the file; null where it is empty */
  constructor(found: string | null) {
    this.#prev = found
  }

  /** The line with its link; `line` is a JSON object. */
  link(line: string): string {
    const link: Link = { id: this.#id, seq: ++this.#seq, prev: this.#prev }
    const linked = `${line.slice(0, -1)},"chain":${JSON.stringify(link)}}`
    this.#prev = lineHash(linked)
    return linked
  }

  /** Forgets the lines that are linked after this call, once the result is called: they were not written. */
  mark(): () => void {
    const [seq, prev] = [this.#seq, this.#prev]
    return () => {
      this.#seq = seq
      this.#prev = prev
    }
  }
}
