import { vaultSuite } from '../../support/vault/suite.ts'
import { startOpenBao } from './openbao.ts'

vaultSuite('OpenBao', startOpenBao)
