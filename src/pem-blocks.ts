/** The blocks of a text in PEM form (RFC 7468) under labels, each with its first and last line. */
export interface PemBlocks {
  readonly blocks: readonly string[]
  /** False where a block begins and does not end, as in a file that is being written. */
  readonly complete: boolean
}

/** @param labels alternatives of a regular expression, such as `(?:TRUSTED )?CERTIFICATE` */
export function pemBlocks(pem: string, labels: string): PemBlocks {
  const blocks =
    pem.match(new RegExp(`-----BEGIN (${labels})-----[^-]*(?:-(?!----)[^-]*)*-----END \\1-----`, 'g')) ?? []
  const begun = pem.match(new RegExp(`-----BEGIN (${labels})-----`, 'g')) ?? []
  return { blocks, complete: begun.length === blocks.length }
}

/** The blocks that an option takes, as alternatives of a regular expression. */
export const PEM_LABELS = {
  certificates: '(?:TRUSTED )?CERTIFICATE',
  key: '(?:[A-Z]+ )?PRIVATE KEY',
  lists: 'X509 CRL',
} as const
export type PemKind = keyof typeof PEM_LABELS

/** Whether a text is meant as PEM and not as the path of a file: as it is, or in base64 as a whole. */
function isPem(text: string): boolean {
  return text.includes('-----BEGIN ') || ENCODED.test(text)
}

/** `-----BEGIN` in base64. */
const ENCODED = /^\s*LS0tLS1CRUdJTi/

/**
 * The blocks of one kind in a text that people paste: PEM, also on one line, with `\n` written as two characters, or in
 * base64 as a whole. Undefined for a text that is no PEM, and empty
 * for one that is cut off or of another kind.
 */
export function pastedPem(text: string, kind: PemKind): string | undefined {
  if (!isPem(text)) return undefined
  const compact = text.replaceAll(/\s|\\[rn]/g, '')
  const pem = ENCODED.test(text) && !text.includes('-----') ? Buffer.from(compact, 'base64').toString('latin1') : text
  const { blocks, complete } = pemBlocks(pem.replaceAll(/\\[rn]/g, '\n'), PEM_LABELS[kind])
  return complete ? blocks.map(rewrapped).join('') : ''
}

/** A block with the line ends that OpenSSL needs. One with headers, such as `DEK-Info`, must have them already. */
function rewrapped(block: string): string {
  const [, begin = '', body = '', end = ''] = /^(-----[^-]+-----)([\s\S]*)(-----[^-]+-----)$/.exec(block) ?? []
  if (body.includes(':')) return `${begin}\n${body.trim()}\n${end}\n`
  return `${begin}\n${body.replaceAll(/\s/g, '').replaceAll(/.{1,64}/g, '$&\n')}${end}\n`
}
