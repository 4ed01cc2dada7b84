import { existsSync, readFileSync } from 'node:fs'
import { errorCode } from '../any-error.ts'

/**
 * The faults of the files of krb5.conf, as far as they can be seen here: the library reports a file that is included
 * and missing without its name. A file of the list itself may be missing.
 */
export function configurationFault(environment: Readonly<Record<string, string | undefined>>): string | undefined {
  for (const file of (environment.KRB5_CONFIG || '/etc/krb5.conf').split(':')) {
    const fault = existsSync(file) ? faultIn(file) : undefined
    if (fault !== undefined) return fault
  }
  return undefined
}

function faultIn(file: string): string | undefined {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    return `${file} cannot be read (${errorCode(error) ?? error}).`
  }
  for (const [, kind, path = ''] of text.matchAll(/^(include|includedir)[ \t]+(.*?)[ \t\r]*$/gm)) {
    if (!existsSync(path)) return `${file} has the line \`${kind} ${path}\`, which leads nowhere.`
  }
  return undefined
}
