from hotserve.codecs.compiled import UsualPredict

REVISION: int

def read_predict(data: bytes) -> UsualPredict | None: ...
