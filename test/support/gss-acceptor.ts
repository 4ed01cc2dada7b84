/** The accepting side of GSSAPI, by MIT's library and a keytab: it treats a client's token as a Kerberos server. */

import koffi from 'koffi'

export interface GssAcceptor {
  /** `principal` is set once the context is established; `output` goes back to the client. */
  step(token: Buffer): Promise<{ readonly output?: Buffer; readonly principal?: string; readonly delegated?: boolean }>
  /** `encrypt` false only signs. */
  wrap(plaintext: Buffer, encrypt?: boolean): Buffer
  unwrap(message: Buffer): Buffer
  close(): void
}

const GSS_C_ACCEPT = 2
const GSS_S_CONTINUE_NEEDED = 1
const GSS_C_DELEG_FLAG = 1
/** The bindings of both sides are the same; without it the client may have sent none (MIT 1.19). */
const GSS_C_CHANNEL_BOUND_FLAG = 2048
const GSS_C_GSS_CODE = 1
const GSS_C_MECH_CODE = 2

type Pointer = bigint | null

function bind() {
  const lib = koffi.load('libgssapi_krb5.so.2')
  koffi.struct('acceptor_buffer', { length: 'size_t', value: 'void *' })
  koffi.struct('acceptor_bindings', {
    initiatorType: 'uint32_t',
    initiator: 'acceptor_buffer',
    acceptorType: 'uint32_t',
    acceptor: 'acceptor_buffer',
    application: 'acceptor_buffer',
  })
  koffi.struct('acceptor_key_value', { key: 'const char *', value: 'const char *' })
  koffi.struct('acceptor_key_values', { count: 'uint32_t', elements: 'acceptor_key_value *' })
  return {
    acquire: lib.func(
      'uint32_t gss_acquire_cred_from(_Out_ uint32_t *minor, void *name, uint32_t time, void *mechs, int usage, acceptor_key_values *store, _Out_ void **cred, void *actual, void *time_rec)',
    ),
    accept: lib.func(
      'uint32_t gss_accept_sec_context(_Out_ uint32_t *minor, _Inout_ void **context, void *cred, acceptor_buffer *input, acceptor_bindings *bindings, _Out_ void **name, void *mech, _Out_ acceptor_buffer *output, _Out_ uint32_t *flags, void *time, void *delegated)',
    ),
    displayName: lib.func(
      'uint32_t gss_display_name(_Out_ uint32_t *minor, void *name, _Out_ acceptor_buffer *text, void *type)',
    ),
    displayStatus: lib.func(
      'uint32_t gss_display_status(_Out_ uint32_t *minor, uint32_t status, int kind, void *mech, _Inout_ uint32_t *more, _Out_ acceptor_buffer *text)',
    ),
    wrap: lib.func(
      'uint32_t gss_wrap(_Out_ uint32_t *minor, void *context, int conf, uint32_t qop, acceptor_buffer *input, _Out_ int *state, _Out_ acceptor_buffer *output)',
    ),
    unwrap: lib.func(
      'uint32_t gss_unwrap(_Out_ uint32_t *minor, void *context, acceptor_buffer *input, _Out_ acceptor_buffer *output, _Out_ int *state, void *qop)',
    ),
    releaseBuffer: lib.func('uint32_t gss_release_buffer(_Out_ uint32_t *minor, _Inout_ acceptor_buffer *buffer)'),
    releaseName: lib.func('uint32_t gss_release_name(_Out_ uint32_t *minor, _Inout_ void **name)'),
    releaseCred: lib.func('uint32_t gss_release_cred(_Out_ uint32_t *minor, _Inout_ void **cred)'),
    deleteContext: lib.func(
      'uint32_t gss_delete_sec_context(_Out_ uint32_t *minor, _Inout_ void **context, void *output)',
    ),
  }
}

let library: ReturnType<typeof bind> | undefined

interface NativeBuffer {
  length: number
  value: Pointer
}

function take(buffer: NativeBuffer): Buffer {
  const bytes =
    buffer.value === null || Number(buffer.length) === 0
      ? Buffer.alloc(0)
      : Buffer.from(koffi.decode(buffer.value, 'uint8_t', Number(buffer.length)) as Uint8Array)
  library?.releaseBuffer([0], [buffer])
  return bytes
}

function explain(call: string, major: number, minor: number): Error {
  const text = (status: number, kind: number): string => {
    const out: [NativeBuffer] = [{ length: 0, value: null }]
    library?.displayStatus([0], status, kind, null, [0], out)
    return take(out[0]).toString()
  }
  return new Error(`${call}: ${text(major, GSS_C_GSS_CODE)} (${text(minor, GSS_C_MECH_CODE)})`)
}

export interface GssAcceptorRules {
  /** Extended Protection: refuses a client that is not bound to this application data (RFC 5929). */
  readonly channelBindings?: () => Buffer | undefined
}

/** @param keytab path of a keytab; any of its principals may be the one that the client asked for */
export function gssAcceptor(keytab: string, { channelBindings }: GssAcceptorRules = {}): GssAcceptor {
  library ??= bind()
  const gss = library
  const minor: [number] = [0]
  const cred: [Pointer] = [null]
  const store = { count: 1, elements: [{ key: 'keytab', value: `FILE:${keytab}` }] }
  const acquired = gss.acquire(minor, null, 0xffff_ffff, null, GSS_C_ACCEPT, store, cred, null, null)
  if (acquired !== 0) throw explain('gss_acquire_cred_from', acquired, minor[0])
  const context: [Pointer] = [null]
  return {
    step: async (token) => {
      const name: [Pointer] = [null]
      const output: [NativeBuffer] = [{ length: 0, value: null }]
      const flags: [number] = [0]
      const input = { length: token.length, value: token }
      const data = channelBindings?.()
      if (channelBindings !== undefined && data === undefined) throw new Error('there is no TLS session to bind to')
      const nothing = { length: 0, value: null }
      const bindings =
        data === undefined
          ? null
          : {
              initiatorType: 0,
              initiator: nothing,
              acceptorType: 0,
              acceptor: nothing,
              application: { length: data.length, value: data },
            }
      const major = gss.accept(minor, context, cred[0], input, bindings, name, null, output, flags, null, null)
      const bytes = take(output[0])
      const reply = bytes.length === 0 ? {} : { output: bytes }
      if (major === GSS_S_CONTINUE_NEEDED) return reply
      if (major !== 0) throw explain('gss_accept_sec_context', major, minor[0])
      if (data !== undefined && (flags[0] & GSS_C_CHANNEL_BOUND_FLAG) === 0) throw new Error('no channel bindings')
      const text: [NativeBuffer] = [{ length: 0, value: null }]
      gss.displayName(minor, name[0], text, null)
      gss.releaseName(minor, name)
      return { ...reply, principal: take(text[0]).toString(), delegated: (flags[0] & GSS_C_DELEG_FLAG) !== 0 }
    },
    wrap: (plaintext, encrypt = true) => {
      const output: [NativeBuffer] = [{ length: 0, value: null }]
      const input = { length: plaintext.length, value: plaintext }
      const major = gss.wrap(minor, context[0], encrypt ? 1 : 0, 0, input, [0], output)
      if (major !== 0) throw explain('gss_wrap', major, minor[0])
      return take(output[0])
    },
    unwrap: (message) => {
      const output: [NativeBuffer] = [{ length: 0, value: null }]
      const major = gss.unwrap(minor, context[0], { length: message.length, value: message }, output, [0], null)
      if (major !== 0) throw explain('gss_unwrap', major, minor[0])
      return take(output[0])
    },
    close: () => {
      if (context[0] !== null) gss.deleteContext(minor, context, null)
      gss.releaseCred(minor, cred)
    },
  }
}
