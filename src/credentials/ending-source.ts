import type { CredentialSource } from './credential.ts'

/** The source, with something to do once at its end. */
export function endingSource(source: CredentialSource, end: () => void): CredentialSource {
  let closed = false
  return {
    current: () => source.current(),
    get: (signal) => source.get(signal),
    reject: (credential) => source.reject(credential),
    onChange: (listener) => source.onChange(listener),
    get failure() {
      return source.failure
    },
    close: () => {
      source.close()
      if (source.release !== undefined) return
      if (!closed) end()
      closed = true
    },
    // The credential may be given back by way of a part that ends.
    release: async () => {
      await source.release?.()
      if (!closed) end()
      closed = true
    },
  }
}
