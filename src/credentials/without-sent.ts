import { redact } from '../secret.ts'
import type { Credential } from './credential.ts'

/** A shorter password may be a part of many words: its gaps in a text would tell it. */
const SHORTEST = 8

/** The text of a server, without the password or the token that it was sent, should it repeat it. */
export function withoutSent(text: string, credential: Credential): string {
  const { kind } = credential
  const sent =
    kind === 'token' ? credential.token : kind === 'password' || kind === 'ntlm' ? credential.password : undefined
  const length = sent?.reveal().length ?? 0
  // The name of the user stands in most refusals.
  return length < SHORTEST || sent?.reveal() === credential.user ? text : redact(text, [sent])
}
