import { ConfigError } from '../errors.ts'
import { isPlausiblePath } from '../plausible-path.ts'

/**
 * Refuses names of files that can be none, such as the content of a keytab, before an error or an event repeats them.
 *
 * @throws ConfigError
 */
export function checkNames(given: { readonly keytab?: string | undefined; readonly cache?: string | undefined }): void {
  const wrong = (['keytab', 'cache'] as const).filter((key) => !isName(given[key]))
  if (wrong.length === 0) return
  const message = 'expected a name such as /etc/etl.keytab, ./krb5cc or KCM:1000 (not repeated: it may be a secret)'
  throw new ConfigError(
    wrong.map((path) => ({ path, message })),
    { subject: 'The Kerberos ticket', hint: 'Give the name of the file, and not what is in it.' },
  )
}

function isName(name: string | undefined): boolean {
  return name === undefined || name === '' || isPlausiblePath(name)
}
