/** Commands for hints, which work as they are printed. */

import { collectionOf } from './cache-name.ts'
import type { KerberosFacts } from './facts.ts'

/** A word of a command, quoted where a shell would take it apart. */
export function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}

/**
 * The command that obtains a new ticket. In a collection it replaces no ticket of another principal: with `-c` it would
 * replace the one that is in use.
 */
export function kinit({ cache, keytab, principal, owner }: KerberosFacts, more: readonly string[] = []): string {
  const collection = cache === undefined ? undefined : collectionOf(cache)
  const words = ['kinit', ...more]
  // No other process can fill a cache in this process' memory.
  if (cache !== undefined && collection === undefined && !cache.startsWith('MEMORY:')) words.push('-c', cache)
  if (keytab !== undefined) words.push('-k', '-t', keytab)
  const name = principal ?? owner
  if (name !== undefined) words.push(name)
  const command = words.map(shellWord).join(' ')
  return collection === undefined ? command : `KRB5CCNAME=${shellWord(collection)} ${command}`
}

/** The command that obtains a ticket for the service. */
export function kvno({ cache, service, spn }: KerberosFacts): string {
  const words = ['kvno']
  if (cache !== undefined && !cache.startsWith('MEMORY:')) words.push('-c', cache)
  words.push(service ?? (spn ?? 'service/host').replace(/^([^@/]+)@/, '$1/'))
  return words.map(shellWord).join(' ')
}
