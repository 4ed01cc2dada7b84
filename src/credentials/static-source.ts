import type { Credential, CredentialSource } from './credential.ts'

/** The source of a credential that never changes: a fixed password. */
export function staticSource(credential: Credential): CredentialSource {
  return {
    current: () => credential,
    get: async () => credential,
    // There is no other one, so a second try would only be refused again (and may lock the account).
    reject: () => false,
    onChange: () => () => undefined,
    close: () => undefined,
  }
}
