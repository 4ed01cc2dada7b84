import { randomUUID } from 'node:crypto'
import { AwsRefusal } from './signature.ts'

interface Version {
  readonly text?: string
  readonly binary?: string
  readonly stages: Set<string>
  /** Seconds since the epoch. */
  readonly createdAt: number
}

interface Kept {
  readonly name: string
  readonly arn: string
  readonly versions: Map<string, Version>
  isDeleted: boolean
}

type Input = Readonly<Record<string, unknown>>

/** The secrets of Secrets Manager, by its API reference. */
export class Secrets {
  readonly #secrets = new Map<string, Kept>()

  /** Makes a secret, or a further version of it. */
  put(name: string, content: string | Buffer, stages: readonly string[] = ['AWSCURRENT']): string {
    const id = randomUUID()
    const value = typeof content === 'string' ? { text: content } : { binary: content.toString('base64') }
    const kept = this.#secrets.get(name) ?? this.#make(name)
    this.#stage(kept, id, { ...value, stages: new Set(), createdAt: now() }, stages)
    return id
  }

  /** Moves AWSCURRENT to the version that is AWSPENDING, as the last step of a rotation. */
  promote(name: string): void {
    const kept = this.#find(name)
    const [id] = this.#withStage(kept, 'AWSPENDING') ?? []
    if (id === undefined) throw new Error('nothing is pending')
    this.#move(kept, 'AWSCURRENT', id)
    kept.versions.get(id)?.stages.delete('AWSPENDING')
  }

  arnOf(name: string): string {
    return this.#find(name).arn
  }

  answer(action: string, input: Input): Readonly<Record<string, unknown>> {
    switch (action) {
      case 'GetSecretValue':
        return this.#get(input)
      case 'CreateSecret':
        return this.#create(input)
      case 'PutSecretValue':
        return this.#putValue(input)
      case 'UpdateSecretVersionStage':
        return this.#moveStage(input)
      case 'DeleteSecret':
        this.#find(String(input.SecretId)).isDeleted = true
        return { Name: input.SecretId }
      default:
        throw new AwsRefusal('InvalidAction', `${action} is not known here.`)
    }
  }

  #get(input: Input): Readonly<Record<string, unknown>> {
    const kept = this.#alive(input)
    const stage = String(input.VersionStage ?? 'AWSCURRENT')
    const [id, version] = this.#withStage(kept, stage) ?? []
    if (version === undefined) {
      const message = `Secrets Manager can't find the specified secret value for staging label: ${stage}`
      throw new AwsRefusal('ResourceNotFoundException', message)
    }
    return {
      ARN: kept.arn,
      Name: kept.name,
      VersionId: id,
      SecretString: version.text,
      SecretBinary: version.binary,
      VersionStages: [...version.stages],
      CreatedDate: version.createdAt,
    }
  }

  #create({ Name, ClientRequestToken: token, SecretString: text }: Input): Readonly<Record<string, unknown>> {
    const name = String(Name)
    if (this.#secrets.has(name)) {
      throw new AwsRefusal('ResourceExistsException', `The operation failed because the secret ${name} already exists.`)
    }
    const kept = this.#make(name)
    this.#stage(kept, String(token), { text: String(text), stages: new Set(), createdAt: now() }, ['AWSCURRENT'])
    return { ARN: kept.arn, Name: name, VersionId: token }
  }

  #putValue(input: Input): Readonly<Record<string, unknown>> {
    const kept = this.#alive(input)
    const id = String(input.ClientRequestToken)
    const text = String(input.SecretString)
    const known = kept.versions.get(id)
    if (known !== undefined && known.text !== text) {
      throw new AwsRefusal('ResourceExistsException', 'A resource with the ID you requested already exists.')
    }
    const stages = Array.isArray(input.VersionStages) ? input.VersionStages.map(String) : ['AWSCURRENT']
    if (known === undefined) this.#stage(kept, id, { text, stages: new Set(), createdAt: now() }, stages)
    return { ARN: kept.arn, Name: kept.name, VersionId: id, VersionStages: stages }
  }

  /** "If the version ID does not match, then the operation fails." */
  #moveStage(input: Input): Readonly<Record<string, unknown>> {
    const kept = this.#alive(input)
    const stage = String(input.VersionStage)
    const [present] = this.#withStage(kept, stage) ?? []
    if (present !== undefined && present !== input.RemoveFromVersionId) {
      const message = `The parameter RemoveFromVersionId can't be empty. Staging label ${stage} is currently attached to version ${present}, so you must explicitly reference that version in RemoveFromVersionId.`
      throw new AwsRefusal('InvalidParameterException', message)
    }
    if (input.MoveToVersionId !== undefined) this.#move(kept, stage, String(input.MoveToVersionId))
    else if (present !== undefined) kept.versions.get(present)?.stages.delete(stage)
    return { ARN: kept.arn, Name: kept.name }
  }

  #make(name: string): Kept {
    const arn = `arn:aws:secretsmanager:eu-west-1:123456789012:secret:${name}-AbCdEf`
    const kept: Kept = { name, arn, versions: new Map(), isDeleted: false }
    this.#secrets.set(name, kept)
    return kept
  }

  #stage(kept: Kept, id: string, version: Version, stages: readonly string[]): void {
    kept.versions.set(id, version)
    for (const stage of stages) this.#move(kept, stage, id)
  }

  /** AWSPREVIOUS follows AWSCURRENT by itself. */
  #move(kept: Kept, stage: string, id: string): void {
    const [before, version] = this.#withStage(kept, stage) ?? []
    version?.stages.delete(stage)
    kept.versions.get(id)?.stages.add(stage)
    if (stage === 'AWSCURRENT' && before !== undefined && before !== id) this.#move(kept, 'AWSPREVIOUS', before)
  }

  #withStage(kept: Kept, stage: string): [string, Version] | undefined {
    return [...kept.versions].find(([, { stages }]) => stages.has(stage))
  }

  #alive({ SecretId }: Input): Kept {
    const kept = this.#find(String(SecretId))
    if (!kept.isDeleted) return kept
    const message = "You can't perform this operation on the secret because it was marked for deletion."
    throw new AwsRefusal('InvalidRequestException', message)
  }

  #find(id: string): Kept {
    const kept = [...this.#secrets.values()].find(({ name, arn }) => name === id || arn === id)
    if (kept !== undefined) return kept
    throw new AwsRefusal('ResourceNotFoundException', "Secrets Manager can't find the specified secret.")
  }
}

const now = (): number => Date.now() / 1000
