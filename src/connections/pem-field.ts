import { type PemKind, pastedPem } from '../pem-blocks.ts'
import { Secret } from '../secret.ts'
import { type Field, FieldMismatch, type PathMeta, path } from './field-types.ts'
import { LONGEST_SECRET } from './limits.ts'

const EXPECTED: Readonly<Record<PemKind, string>> = {
  certificates: 'a certificate in PEM form, whole and with its first and last line',
  key: 'a private key in PEM form, whole and with its first and last line',
  lists: 'a certificate revocation list in PEM form, whole and with its first and last line',
}

/** An option that is the path of a file in PEM form, or that text itself, which becomes a secret. */
export function pem(kind: PemKind, meta: PathMeta): Field<string | Secret | undefined> {
  const file = path(meta)
  return {
    ...file,
    type: 'path or PEM text',
    longest: LONGEST_SECRET,
    parse(value) {
      const given = value instanceof Secret ? value.reveal() : value
      const text = typeof given === 'string' ? pastedPem(given, kind) : undefined
      if (text === undefined) return file.parse(value)
      if (text === '') throw new FieldMismatch(`expected ${EXPECTED[kind]}`)
      return new Secret(text)
    },
  }
}
