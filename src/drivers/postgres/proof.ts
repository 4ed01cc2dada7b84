import { createHash } from 'node:crypto'
import { orAbort } from '../../abort.ts'
import type { Credential } from '../../credentials/credential.ts'
import type { Phase } from '../../errors.ts'
import type { Emit } from '../../events.ts'
import type { GssContext, GssFlag } from '../../kerberos/gss-api.ts'
import { printable } from '../../printable.ts'
import { Secret } from '../../secret.ts'
import type { KerberosInfo } from '../driver.ts'
import { peersOf } from '../kerberos-info.ts'
import { tlsServerEndPoint } from '../network/tls-server-end-point.ts'
import type { Wire } from '../network/wire.ts'
import type { Advice } from './advice.ts'
import type { AuthMethod, AuthPolicy } from './auth-policy.ts'
import type { GssIdentity } from './gss-identity.ts'
import {
  authenticationResponse,
  type BodyReader,
  NotPostgres,
  passwordMessage,
  saslInitialResponse,
} from './messages.ts'
import {
  credentialAdvice,
  failure,
  foundOtherTls,
  GSS,
  guarded,
  kerberosAdvice,
  OTHER_TLS,
  SSPI,
  unboundSignature,
  unsupported,
} from './proof-errors.ts'
import { type ChannelBinding, ScramClient } from './scram.ts'
import type { Transport } from './transport.ts'

/** The identity to prove, and the rules for it. */
export interface ProofRequest {
  readonly user: string
  readonly credential: Credential
  readonly policy: AuthPolicy
  readonly channelBinding: 'disable' | 'prefer' | 'require'
  readonly emit: Emit
  /** The client's side of Kerberos, where a ticket was acquired. */
  readonly identity: GssIdentity | undefined
  readonly enter: (phase: Phase) => void
  readonly signal: AbortSignal
}

/** AuthenticationXXX codes. */
const CLEARTEXT = 3
const MD5 = 5
const GSS_CONTINUE = 8
const SASL = 10
const SASL_CONTINUE = 11
const SASL_FINAL = 12

/** The flags of a login without GSSAPI encryption: both ends prove themselves. */
export const LOGIN_FLAGS: readonly GssFlag[] = ['mutual']

/** One login: answers the server's requests, or reports why it does not. */
export class Proof implements Disposable {
  readonly #wire: Wire
  readonly #transport: Transport
  readonly #request: ProofRequest
  #method = 'none'
  #scram: ScramClient | undefined
  #scramBound = false
  #gss: GssContext | undefined
  #finished = false

  constructor(wire: Wire, transport: Transport, request: ProofRequest) {
    this.#wire = wire
    this.#transport = transport
    this.#request = request
  }

  /** Whether the server has asked for a proof. */
  get begun(): boolean {
    return this.#method !== 'none'
  }

  async answer(code: number, body: BodyReader): Promise<void> {
    if (this.begun && code !== SASL_CONTINUE && code !== SASL_FINAL && code !== GSS_CONTINUE)
      throw new NotPostgres('a second request for a login')
    switch (code) {
      case CLEARTEXT:
        this.#assertAllowed('password')
        this.#assertUnbound('a cleartext password')
        return this.#cleartext()
      case MD5:
        this.#assertAllowed('md5')
        this.#assertUnbound('an md5 password')
        return this.#md5(body.rest())
      case SASL:
        this.#assertAllowed('scram-sha-256')
        return this.#startScram(body)
      case SASL_CONTINUE: {
        const text = body.rest().toString('utf8')
        // A server may ask for more iterations than there is time for.
        const final = await guarded(() => orAbort(this.#expectScram().finalMessage(text), this.#request.signal))
        this.#wire.write(authenticationResponse(final))
        return
      }
      case SASL_FINAL:
        await guarded(() => this.#expectScram().verify(body.rest().toString('utf8')))
        this.#finished = true
        return
      case GSS:
      case SSPI:
        this.#assertAllowed(code === GSS ? 'gss' : 'sspi')
        this.#assertUnbound('a Kerberos login')
        return this.#startGss(code)
      case GSS_CONTINUE:
        return this.#stepGss(body.rest())
      default:
        throw unsupported(code)
    }
  }

  /** The server accepts the login. @throws PoolsmithError when the server has not proved itself, or the rules forbid it */
  accepted(): string {
    const { policy, channelBinding } = this.#request
    if (this.#scram !== undefined && !this.#finished) {
      throw failure('SERVER_NOT_GENUINE', 'The server accepted the login without proving that it knows the password.', {
        hint: 'Another machine may be posing as the server; check the host, and use sslmode=verify-full.',
      })
    }
    if (this.#gss !== undefined && !this.#finished) {
      throw failure(
        'SERVER_NOT_GENUINE',
        'The server accepted the login without proving that it has the key of its service.',
        {
          hint: 'Another machine may be posing as the server; check the host, and use gssencmode=require.',
        },
      )
    }
    // Under GSSAPI encryption both ends have proved themselves already, and the server may ask for nothing more.
    if (this.#method === 'none' && this.#transport.kerberos !== undefined && policy.allows('gss')) {
      this.#method = 'gss'
      this.#finished = true
    }
    if (!this.#finished && !policy.allowsNone) {
      throw failure('AUTH_METHOD_REFUSED', 'The server accepted the login without asking for a proof of identity.', {
        hint: `require_auth=${policy.text} forbids it. Add \`none\` if pg_hba.conf says trust, peer or cert on purpose.`,
      })
    }
    if (channelBinding === 'require' && !this.#scramBound) this.#assertUnbound('no SCRAM login')
    return this.#method
  }

  #assertAllowed(method: Exclude<AuthMethod, 'none'>): void {
    const { policy } = this.#request
    if (policy.allows(method)) return
    throw failure('AUTH_METHOD_REFUSED', `The server asks for the login method ${method}.`, {
      hint: `require_auth=${policy.text} does not allow it. Change require_auth or the line of pg_hba.conf.`,
    })
  }

  #assertUnbound(what: string): void {
    if (this.#request.channelBinding !== 'require') return
    throw failure('CHANNEL_BINDING_FAILED', `channel_binding=require, but the server asks for ${what}.`, {
      hint: 'Channel binding needs TLS and a SCRAM-SHA-256 password; check pg_hba.conf and how the password is stored.',
    })
  }

  /** The secret that a password method sends or proves. */
  #secret(method: string): Secret {
    const { credential } = this.#request
    if (credential.kind === 'password') {
      if (!credential.password.equals(new Secret(''))) return credential.password
      throw failure('PASSWORD_MISSING', `The server asks for a password (${method}), and none is given.`, {
        hint: "Set the connection's password, or choose another auth_method.",
      })
    }
    if (credential.kind === 'token') {
      if (method === 'password') return credential.token
      throw failure('AUTH_METHOD_UNSUPPORTED', `The server asks for ${method}, which a token cannot answer.`, {
        hint: 'The role is not set up for tokens: on Amazon RDS grant it rds_iam, on Azure create it from the Entra identity.',
      })
    }
    const kind = credential.kind === 'certificate' ? 'a client certificate' : 'Kerberos'
    throw failure(
      'AUTH_METHOD_UNSUPPORTED',
      `The server asks for a password (${method}), but this connection logs in by ${kind}.`,
      {
        hint: `Set the method to ${credential.kind === 'certificate' ? 'cert' : 'gss'} in the line of pg_hba.conf for this user.`,
      },
    )
  }

  #cleartext(): void {
    const secret = this.#secret('password')
    if (this.#transport.exposed) {
      throw failure('CLEARTEXT_REFUSED', 'The server asks for the password in cleartext on a connection without TLS.', {
        hint: 'Use sslmode=require or stronger. Better, set the method in pg_hba.conf to scram-sha-256.',
      })
    }
    this.#wire.write(passwordMessage(secret.reveal()))
    this.#method = 'password'
    this.#finished = true
  }

  #md5(salt: Buffer): void {
    if (salt.length !== 4) throw new NotPostgres('an md5 request without its salt')
    const hash = (data: Buffer | string): string => createHash('md5').update(data).digest('hex')
    const inner = hash(this.#secret('md5').reveal() + this.#request.user)
    this.#wire.write(passwordMessage(`md5${hash(Buffer.concat([Buffer.from(inner), salt]))}`))
    this.#method = 'md5'
    this.#finished = true
    this.#request.emit('security:warning', {
      code: 'MD5_PASSWORD',
      message: `The server asked ${this.#request.user} for an md5 password; store it as scram-sha-256.`,
    })
  }

  #startScram(body: BodyReader): void {
    const offered = new Set<string>()
    for (let name = body.string(); name !== ''; name = body.string()) offered.add(name)
    const binding = this.#binding(offered)
    const mechanism = binding.kind === 'bound' ? 'SCRAM-SHA-256-PLUS' : 'SCRAM-SHA-256'
    if (!offered.has(mechanism)) {
      throw failure(
        'AUTH_METHOD_UNSUPPORTED',
        `The server offers only ${printable([...offered].join(', '), 200) || 'nothing'} for SASL.`,
        {
          hint: 'Enable SCRAM-SHA-256 or SCRAM-SHA-256-PLUS on the server; poolsmith supports no other.',
        },
      )
    }
    this.#scram = new ScramClient(this.#secret('scram-sha-256'), binding)
    this.#scramBound = binding.kind === 'bound'
    this.#method = mechanism.toLowerCase()
    this.#wire.write(saslInitialResponse(mechanism, this.#scram.firstMessage()))
  }

  #binding(offered: ReadonlySet<string>): ChannelBinding {
    const { channelBinding } = this.#request
    const certificate = this.#transport.serverCertificate
    const plus = offered.has('SCRAM-SHA-256-PLUS')
    if (plus && certificate === undefined) {
      throw failure('SERVER_NOT_GENUINE', 'The server offers channel binding on a connection without TLS.', {
        hint: 'Something between this machine and the server may be removing TLS. Use sslmode=verify-full.',
      })
    }
    const hash = certificate === undefined || channelBinding === 'disable' ? undefined : tlsServerEndPoint(certificate)
    if (hash !== undefined && plus) return { kind: 'bound', certificateHash: hash }
    if (channelBinding === 'require' && plus) throw unboundSignature()
    if (channelBinding === 'require') this.#assertUnbound('SCRAM without it')
    return { kind: hash === undefined ? 'none' : 'unoffered' }
  }

  /** The meaning of a refusal, where the state of the login says more than the server's error. */
  adviceOnRefusal(fields: Readonly<Record<string, string>>): Advice | undefined {
    const { identity, user } = this.#request
    if (this.#scram !== undefined && foundOtherTls(fields)) return OTHER_TLS
    if (identity === undefined) return credentialAdvice(fields, this.#request.credential, user)
    return kerberosAdvice(fields, {
      user,
      identity,
      encrypted: this.#transport.kerberos !== undefined,
      begun: this.#gss !== undefined,
      peers: this.#transport.kerberos ?? this.kerberos,
    })
  }

  [Symbol.dispose](): void {
    this.#gss?.[Symbol.dispose]()
  }

  get kerberos(): KerberosInfo | undefined {
    return this.#gss?.complete === true ? peersOf(this.#gss.inquire()) : undefined
  }

  /** SSPI is the name for the same login on a Windows server, which accepts a Kerberos ticket without SPNEGO. */
  async #startGss(code: number): Promise<void> {
    const { identity } = this.#request
    if (identity === undefined) throw unsupported(code)
    if (this.#transport.kerberos !== undefined) throw new NotPostgres('a second Kerberos login')
    this.#method = code === GSS ? 'gss' : 'sspi'
    this.#gss = identity.context(LOGIN_FLAGS)
    await this.#stepGss(undefined)
  }

  async #stepGss(token: Buffer | undefined): Promise<void> {
    const { enter, signal } = this.#request
    if (this.#gss === undefined || this.#finished) throw new NotPostgres('a GSSAPI token at this point')
    enter('gss')
    const step = await this.#gss.step(token, { signal })
    if (step.token !== undefined) this.#wire.write(authenticationResponse(step.token))
    this.#finished = step.complete && this.#gss.flags.includes('mutual')
    enter('login')
  }

  #expectScram(): ScramClient {
    if (this.#scram !== undefined && !this.#finished) return this.#scram
    throw new NotPostgres('a SCRAM message at this point')
  }
}
