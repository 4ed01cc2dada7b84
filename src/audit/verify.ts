/** Checks the hash chains of a file: whether a line was removed, changed or repeated since it was written. */

import { type Link, lineHash } from './chain.ts'

/** `truncated`: all is in order but the last line, which is not whole. `unlinked`: no line has a link. */
export type AuditVerdict = 'whole' | 'truncated' | 'broken' | 'unlinked'

/** The first line that does not fit. */
export interface AuditFault {
  /** From 1. */
  readonly line: number
  /** Completes a sentence that begins with the line: `was changed`. */
  readonly problem: string
}

/** The lines of one writer. */
export interface VerifiedChain {
  readonly id: string
  readonly first: number
  readonly last: number
  /** The hash of its last line: kept elsewhere, it proves later that no line after it was removed with it. */
  readonly hash: string
}

/** The result of {@link verifyAudit}. */
export interface AuditVerification {
  readonly verdict: AuditVerdict
  readonly lines: number
  /** Lines before the first one with a link. */
  readonly unlinked: number
  /** Lines that are not whole, as their writers found and noted it after a crash or a full disk. */
  readonly torn: number
  readonly chains: readonly VerifiedChain[]
  readonly fault?: AuditFault | undefined
}

/** A writer that begins names the last line that it found; others may have written a few more meanwhile. */
const REMEMBERED = 10_000
/** The actions of the line with which a writer begins in another file. */
const BEGINNINGS: readonly unknown[] = ['reopened', 'recreated', 'resumed']
const LINE_BREAK = 0x0a
/** No line of ours is longer. */
const LONGEST = 1 << 22

/**
 * Reads the lines of an audit log that was written with `chain`; of rotated files one after the other, the oldest first.
 *
 * @param content the bytes, such as `createReadStream(path)`
 *
 * @example
 * const { verdict, fault } = await verifyAudit(createReadStream('/var/log/sales/audit.jsonl'))
 * if (verdict === 'broken') console.log(`line ${fault?.line} ${fault?.problem}`)
 */
export async function verifyAudit(content: AsyncIterable<Uint8Array>): Promise<AuditVerification> {
  const check = new Check()
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of content) {
    rest = rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk])
    let from = 0
    for (let end = rest.indexOf(LINE_BREAK); end >= 0; end = rest.indexOf(LINE_BREAK, from)) {
      check.take(rest.subarray(from, end))
      from = end + 1
    }
    rest = rest.subarray(from)
    if (rest.length > LONGEST) rest = check.tooLong(rest)
  }
  const isCut = rest.length > 0
  if (isCut) check.take(rest)
  return check.conclude(isCut)
}

interface Tip {
  readonly first: number
  last: number
  hash: string
  /** The number of its last line in the file. */
  line: number
}

interface Parsed {
  readonly event?: unknown
  readonly action?: unknown
  readonly torn?: unknown
  readonly chain?: Partial<Link>
}

class Check {
  #line = 0
  #lines = 0
  #unlinked = 0
  #torn = 0
  #previous: string | null = null
  readonly #tips = new Map<string, Tip>()
  readonly #recent = new Set<string>()
  /** Lines that are not whole, by their hash. */
  readonly #fragments = new Map<string, number>()
  #fault: AuditFault | undefined

  take(bytes: Uint8Array): void {
    this.#line++
    if (bytes.length === 0) return
    this.#lines++
    const hash = lineHash(bytes)
    const parsed = parse(bytes)
    if (parsed === undefined) this.#fragments.set(hash, this.#line)
    else this.#takeWhole(parsed, hash)
    this.#remember(hash)
  }

  /** Bytes that are no line of ours. @returns nothing is left of them */
  tooLong(bytes: Uint8Array): Buffer {
    this.take(bytes.subarray(0, 0))
    this.#refuse(`is longer than ${LONGEST} bytes`)
    return Buffer.alloc(0)
  }

  #takeWhole(parsed: Parsed, hash: string): void {
    const { chain, torn } = parsed
    if (!isLink(chain)) {
      if (this.#tips.size > 0) this.#refuse('has no link: another program wrote it, or its link was removed')
      else this.#unlinked++
      return
    }
    // Only a line that is linked itself can excuse one that is not whole.
    if (Array.isArray(torn)) for (const one of torn) if (this.#fragments.delete(String(one))) this.#torn++
    const tip = this.#tips.get(chain.id)
    if (tip === undefined) this.#begin(chain, parsed, hash)
    else this.#continue(tip, chain, hash)
  }

  #begin(chain: Link, { event, action }: Parsed, hash: string): void {
    if (chain.seq === 1) {
      if (chain.prev !== null && !this.#recent.has(chain.prev)) {
        this.#refuse(
          this.#previous === null
            ? 'follows a line that is not in the file; verify rotated files together, the oldest first'
            : 'follows a line that was changed or removed',
        )
      }
    } else if (this.#unlinked > 0 || event !== 'log' || !BEGINNINGS.includes(action)) {
      this.#refuse(`is number ${chain.seq} of its chain, and those before it are missing`)
    }
    this.#tips.set(chain.id, { first: chain.seq, last: chain.seq, hash, line: this.#line })
  }

  #continue(tip: Tip, { seq, prev }: Link, hash: string): void {
    if (seq > tip.last + 1) {
      const missing = seq - tip.last - 1
      this.#refuse(
        `is number ${seq} of its chain: ${missing === 1 ? 'a line was' : `${missing} lines were`} removed before it`,
      )
    } else if (seq <= tip.last) {
      this.#refuse(`is number ${seq} of its chain, after number ${tip.last}: it is repeated, or was moved`)
    } else if (prev !== tip.hash) {
      this.#refuse('was changed', tip.line)
    }
    Object.assign(tip, { last: seq, hash, line: this.#line })
  }

  #refuse(problem: string, line = this.#line): void {
    this.#fault ??= { line, problem }
  }

  #remember(hash: string): void {
    this.#previous = hash
    this.#recent.add(hash)
    if (this.#recent.size <= REMEMBERED) return
    const [oldest = ''] = this.#recent
    this.#recent.delete(oldest)
  }

  conclude(isCut: boolean): AuditVerification {
    const [fragment] = this.#fragments.values()
    const isTruncated = isCut && this.#fragments.size === 1 && fragment === this.#line
    if (fragment !== undefined && !isTruncated && fragment < (this.#fault?.line ?? Number.POSITIVE_INFINITY)) {
      this.#fault = { line: fragment, problem: 'is not whole, and no writer has noted that: it was changed' }
    }
    return {
      verdict: this.#verdict(isTruncated),
      lines: this.#lines,
      unlinked: this.#unlinked,
      torn: this.#torn,
      chains: [...this.#tips].map(([id, { first, last, hash }]) => ({ id, first, last, hash })),
      fault: this.#fault,
    }
  }

  #verdict(isTruncated: boolean): AuditVerdict {
    if (this.#fault !== undefined) return 'broken'
    if (this.#tips.size === 0) return 'unlinked'
    return isTruncated ? 'truncated' : 'whole'
  }
}

function parse(bytes: Uint8Array): Parsed | undefined {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(bytes).toString())
    return typeof parsed === 'object' && parsed !== null ? parsed : undefined
  } catch {
    return undefined
  }
}

function isLink(link: Partial<Link> | undefined): link is Link {
  if (typeof link !== 'object' || link === null) return false
  const { id, seq, prev } = link
  return typeof id === 'string' && Number.isSafeInteger(seq) && (prev === null || typeof prev === 'string')
}
