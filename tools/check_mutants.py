import json,os
d=json.load(open('tests/mutants/mutants.json'))
for m in d:
    f=m['file']
    if not os.path.exists(f): print('missing',f,m['why'])
    elif open(f).read().count(m['old'])!=1: print('not once',f,'|',m['why'],'|',open(f).read().count(m['old']))
    for t in m['tests']:
        if not os.path.exists(t.split('::')[0]): print('test missing',t)
print(len(d))
