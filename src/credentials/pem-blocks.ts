/** The blocks of a text in PEM form (RFC 7468) under labels, each with its first and last line. */
export interface PemBlocks {
  readonly blocks: readonly string[]
  /** False where a block begins and does not end, as in a file that is being written. */
  readonly complete: boolean
}

/** @param labels alternatives of a regular expression, such as `(?:TRUSTED )?CERTIFICATE` */
export function pemBlocks(pem: string, labels: string): PemBlocks {
  const blocks = pem.match(new RegExp(`-----BEGIN (${labels})-----[^-]*-----END \\1-----`, 'g')) ?? []
  const begun = pem.match(new RegExp(`-----BEGIN (${labels})-----`, 'g')) ?? []
  return { blocks, complete: begun.length === blocks.length }
}
