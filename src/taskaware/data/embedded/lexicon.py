"""The dictionary of the embedded corpus: English with German, Turkish and Romanian.

One table per part of speech; the columns are the fields of its class in ``words``. A dash is an
empty cell: a form that the word does not have, or one that equals its regular form. Genders are
``m``, ``f`` and ``n``. No two words of the English vocabulary sound alike, and no English word has
two translations in the same use.
"""

from __future__ import annotations

from taskaware.data.embedded.words import (
    Adjective,
    Modal,
    Noun,
    Number,
    Place,
    Time,
    Verb,
    read_table,
)

# english | plural || german | gender | plural | dative || turkish | stem
# || romanian | definite | gender | plural || kinds
PERSONS = read_table(
    Noun,
    """
    man      | - | Mann             | m | - | -         | adam     | - | bărbat   | bărbatul    | m | - | person
    woman    | - | Frau             | f | - | -         | kadın    | - | femeie   | femeia      | f | - | person
    boy      | - | Junge            | m | - | Jungen    | oğlan    | - | băiat    | băiatul     | m | - | person
    girl     | - | Mädchen          | n | - | -         | kız      | - | fată     | fata        | f | - | person
    child    | - | Kind             | n | - | -         | çocuk    | - | copil    | copilul     | m | - | person
    teacher  | - | Lehrer           | m | - | -         | öğretmen | - | profesor | profesorul  | m | - | person
    doctor   | - | Arzt             | m | - | -         | doktor   | - | medic    | medicul     | m | - | person
    nurse    | - | Krankenschwester | f | - | -         | hemşire  | - | asistentă | asistenta  | f | - | person
    farmer   | - | Bauer            | m | - | Bauern    | çiftçi   | - | fermier  | fermierul   | m | - | person
    waiter   | - | Kellner          | m | - | -         | garson   | - | chelner  | chelnerul   | m | - | person
    student  | - | Student          | m | - | Studenten | öğrenci  | - | student  | studentul   | m | - | person
    queen    | - | Königin          | f | - | -         | kraliçe  | - | regină   | regina      | f | - | person
    baby     | - | Baby             | n | - | -         | bebek    | - | bebeluș  | bebelușul   | m | - | person
    guest    | - | Gast             | m | - | -         | misafir  | - | oaspete  | oaspetele   | m | - | person
    """,  # noqa: E501
)

FAMILY = read_table(
    Noun,
    """
    mother      | - | Mutter     | f | - | - | annem          | - | - | mama    | f | - | person
    father      | - | Vater      | m | - | - | babam          | - | - | tatăl   | m | - | person
    brother     | - | Bruder     | m | - | - | erkek kardeşim | - | - | fratele | m | - | person
    sister      | - | Schwester  | f | - | - | kız kardeşim   | - | - | sora    | f | - | person
    uncle       | - | Onkel      | m | - | - | amcam          | - | - | unchiul | m | - | person
    grandmother | - | Großmutter | f | - | - | büyükannem     | - | - | bunica  | f | - | person
    """,
)

# Turkish leaves the pronoun out: its verb has one form for he and she.
PRONOUNS = read_table(
    Noun,
    """
    he  | - | er  | m | - | - | - | - | el | - | m | - | person
    she | - | sie | f | - | - | - | - | ea | - | f | - | person
    """,
)

OBJECTS = read_table(
    Noun,
    """
    book      | books      | Buch        | n | Bücher       | - | kitap    | kitab  | carte     | cartea     | f | cărți     | thing readable openable portable
    letter    | letters    | Brief       | m | Briefe       | - | mektup   | mektub | scrisoare | scrisoarea | f | scrisori  | thing readable portable
    newspaper | newspapers | Zeitung     | f | Zeitungen    | - | gazete   | -      | ziar      | ziarul     | n | ziare     | thing readable portable
    map       | maps       | Karte       | f | Karten       | - | harita   | -      | hartă     | harta      | f | hărți     | thing readable portable
    apple     | apples     | Apfel       | m | Äpfel        | - | elma     | -      | măr       | mărul      | n | mere      | food washable portable
    egg       | eggs       | Ei          | n | Eier         | - | yumurta  | -      | ou        | oul        | n | ouă       | food washable portable
    banana    | bananas    | Banane      | f | Bananen      | - | muz      | -      | banană    | banana     | f | banane    | food portable
    potato    | potatoes   | Kartoffel   | f | Kartoffeln   | - | patates  | -      | cartof    | cartoful   | m | cartofi   | food washable portable
    cake      | cakes      | Kuchen      | m | Kuchen       | - | kek      | -      | prăjitură | prăjitura  | f | prăjituri | food portable
    cherry    | cherries   | Kirsche     | f | Kirschen     | - | kiraz    | -      | cireașă   | cireașa    | f | cireșe    | food washable portable
    dog       | dogs       | Hund        | m | Hunde        | - | köpek    | köpeğ  | câine     | câinele    | m | câini     | animal washable
    cat       | cats       | Katze       | f | Katzen       | - | kedi     | -      | pisică    | pisica     | f | pisici    | animal washable
    bird      | birds      | Vogel       | m | Vögel        | - | kuş      | -      | pasăre    | pasărea    | f | păsări    | animal
    horse     | horses     | Pferd       | n | Pferde       | - | at       | -      | cal       | calul      | m | cai       | animal washable
    box       | boxes      | Kiste       | f | Kisten       | - | kutu     | -      | cutie     | cutia      | f | cutii     | thing openable portable
    bag       | bags       | Tasche      | f | Taschen      | - | çanta    | -      | geantă    | geanta     | f | genți     | thing openable washable portable
    bottle    | bottles    | Flasche     | f | Flaschen     | - | şişe     | -      | sticlă    | sticla     | f | sticle    | thing openable washable portable
    window    | windows    | Fenster     | n | Fenster      | - | pencere  | -      | fereastră | fereastra  | f | ferestre  | thing openable washable
    umbrella  | umbrellas  | Regenschirm | m | Regenschirme | - | şemsiye  | -      | umbrelă   | umbrela    | f | umbrele   | thing openable portable
    lamp      | lamps      | Lampe       | f | Lampen       | - | lamba    | -      | lampă     | lampa      | f | lămpi     | thing portable
    chair     | chairs     | Stuhl       | m | Stühle       | - | sandalye | -      | scaun     | scaunul    | n | scaune    | thing washable portable
    hat       | hats       | Hut         | m | Hüte         | - | şapka    | -      | pălărie   | pălăria    | f | pălării   | thing washable portable
    shirt     | shirts     | Hemd        | n | Hemden       | - | gömlek   | gömleğ | cămașă    | cămașa     | f | cămăși    | thing washable portable
    key       | keys       | Schlüssel   | m | Schlüssel    | - | anahtar  | -      | cheie     | cheia      | f | chei      | thing portable
    ball      | balls      | Ball        | m | Bälle        | - | top      | -      | minge     | mingea     | f | mingi     | thing washable portable
    car       | cars       | Auto        | n | Autos        | - | araba    | -      | mașină    | mașina     | f | mașini    | thing washable
    picture   | pictures   | Bild        | n | Bilder       | - | resim    | resm   | tablou    | tabloul    | n | tablouri  | thing portable
    """,  # noqa: E501
)

DRINKS = read_table(
    Noun,
    """
    coffee | - | Kaffee | m | - | - | kahve      | - | cafea | - | f | - | drink
    tea    | - | Tee    | m | - | - | çay        | - | ceai  | - | n | - | drink
    milk   | - | Milch  | f | - | - | süt        | - | lapte | - | n | - | drink
    water  | - | Wasser | n | - | - | su         | - | apă   | - | f | - | drink
    juice  | - | Saft   | m | - | - | meyve suyu | - | suc   | - | n | - | drink
    """,
)

# english | german | stem | turkish | romanian m/n | f | plural m | f/n | kinds
ADJECTIVES = read_table(
    Adjective,
    """
    old       | alt       | -    | yaşlı     | bătrân    | bătrână   | -        | -         | person
    young     | jung      | -    | genç      | tânăr     | tânără    | tineri   | tinere    | person animal
    happy     | glücklich | -    | mutlu     | fericit   | fericită  | -        | -         | person
    tired     | müde      | müd  | yorgun    | obosit    | obosită   | -        | -         | person
    tall      | groß      | -    | uzun boylu | înalt    | înaltă    | -        | -         | person
    hungry    | hungrig   | -    | aç        | flămând   | flămândă  | flămânzi | flămânde  | person animal
    sick      | krank     | -    | hasta     | bolnav    | bolnavă   | -        | -         | person
    famous    | berühmt   | -    | ünlü      | faimos    | faimoasă  | -        | -         | person
    big       | groß      | -    | büyük     | mare      | mare      | mari     | mari      | thing animal food
    small     | klein     | -    | küçük     | mic       | mică      | mici     | mici      | thing animal food
    new       | neu       | -    | yeni      | nou       | nouă      | noi      | noi       | thing
    red       | rot       | -    | kırmızı   | roșu      | roșie     | roșii    | roșii     | thing
    green     | grün      | -    | yeşil     | verde     | verde     | verzi    | verzi     | thing
    blue      | blau      | -    | mavi      | albastru  | albastră  | albaștri | albastre  | thing
    yellow    | gelb      | -    | sarı      | galben    | galbenă   | galbeni  | galbene   | thing
    white     | weiß      | -    | beyaz     | alb       | albă      | albi     | albe      | thing animal
    black     | schwarz   | -    | siyah     | negru     | neagră    | negri    | negre     | thing animal
    heavy     | schwer    | -    | ağır      | greu      | grea      | grei     | grele     | thing
    expensive | teuer     | teur | pahalı    | scump     | scumpă    | scumpi   | scumpe    | thing animal food
    cheap     | billig    | -    | ucuz      | ieftin    | ieftină   | ieftini  | ieftine   | thing food
    fresh     | frisch    | -    | taze      | proaspăt  | proaspătă | proaspeți | proaspete | food drink
    cold      | kalt      | -    | soğuk     | rece      | rece      | reci     | reci      | drink
    hot       | heiß      | -    | sıcak     | fierbinte | fierbinte | fierbinți | fierbinți | drink
    """,  # noqa: E501
)

# english: base | present | past | particle
# || german: present | prefix | infinitive | participle | auxiliary
# || turkish: stem | before vowel | present
# || romanian: present | subjunctive | infinitive | participle | se || kinds
TRANSITIVE_VERBS = read_table(
    Verb,
    """
    read  | reads   | -       | -    | liest    | -   | lesen     | gelesen     | hat | oku    | -      | okuyor     | citește  | citească | citi     | citit    | - | readable
    eat   | eats    | ate     | -    | isst     | -   | essen     | gegessen    | hat | ye     | yi     | yiyor      | mănâncă  | mănânce  | mânca    | mâncat   | - | food
    drink | drinks  | drank   | -    | trinkt   | -   | trinken   | getrunken   | hat | iç     | -      | içiyor     | bea      | bea      | bea      | băut     | - | drink
    buy   | buys    | bought  | -    | kauft    | -   | kaufen    | gekauft     | hat | al     | -      | alıyor     | cumpără  | cumpere  | cumpăra  | cumpărat | - | thing animal food drink
    sell  | sells   | sold    | -    | verkauft | -   | verkaufen | verkauft    | hat | sat    | -      | satıyor    | vinde    | vândă    | vinde    | vândut   | - | thing animal food drink
    find  | finds   | found   | -    | findet   | -   | finden    | gefunden    | hat | bul    | -      | buluyor    | găsește  | găsească | găsi     | găsit    | - | thing animal food
    bring | brings  | brought | -    | bringt   | -   | bringen   | gebracht    | hat | getir  | -      | getiriyor  | aduce    | aducă    | aduce    | adus     | - | portable animal drink
    hide  | hides   | hid     | -    | versteckt | -  | verstecken | versteckt  | hat | sakla  | -      | saklıyor   | ascunde  | ascundă  | ascunde  | ascuns   | - | portable animal
    lose  | loses   | lost    | -    | verliert | -   | verlieren | verloren    | hat | kaybet | kaybed | kaybediyor | pierde   | piardă   | pierde   | pierdut  | - | portable
    carry | carries | carried | -    | trägt    | -   | tragen    | getragen    | hat | taşı   | -      | taşıyor    | cară     | care     | căra     | cărat    | - | portable
    wash  | washes  | washed  | -    | wäscht   | -   | waschen   | gewaschen   | hat | yıka   | -      | yıkıyor    | spală    | spele    | spăla    | spălat   | - | washable
    open  | opens   | opened  | -    | macht    | auf | aufmachen | aufgemacht  | hat | aç     | -      | açıyor     | deschide | deschidă | deschide | deschis  | - | openable
    close | closes  | closed  | -    | macht    | zu  | zumachen  | zugemacht   | hat | kapat  | -      | kapatıyor  | închide  | închidă  | închide  | închis   | - | openable
    throw | throws  | threw   | away | wirft    | weg | wegwerfen | weggeworfen | hat | at     | -      | atıyor     | aruncă   | arunce   | arunca   | aruncat  | - | portable
    """,  # noqa: E501
)

INTRANSITIVE_VERBS = read_table(
    Verb,
    """
    sleep  | sleeps  | slept   | -  | schläft  | -   | schlafen  | geschlafen  | hat | uyu         | -       | uyuyor         | doarme   | doarmă    | dormi   | dormit   | -  | place
    work   | works   | worked  | -  | arbeitet | -   | arbeiten  | gearbeitet  | hat | çalış       | -       | çalışıyor      | lucrează | lucreze   | lucra   | lucrat   | -  | place companion
    wait   | waits   | waited  | -  | wartet   | -   | warten    | gewartet    | hat | bekle       | -       | bekliyor       | așteaptă | aștepte   | aștepta | așteptat | -  | place companion
    sing   | sings   | sang    | -  | singt    | -   | singen    | gesungen    | hat | şarkı söyle | -       | şarkı söylüyor | cântă    | cânte     | cânta   | cântat   | -  | place companion
    dance  | dances  | danced  | -  | tanzt    | -   | tanzen    | getanzt     | hat | dans et     | dans ed | dans ediyor    | dansează | danseze   | dansa   | dansat   | -  | place companion
    laugh  | laughs  | laughed | -  | lacht    | -   | lachen    | gelacht     | hat | gül         | -       | gülüyor        | râde     | râdă      | râde    | râs      | -  | place companion
    play   | plays   | played  | -  | spielt   | -   | spielen   | gespielt    | hat | oyna        | -       | oynuyor        | joacă    | joace     | juca    | jucat    | se | place companion
    swim   | swims   | swam    | -  | schwimmt | -   | schwimmen | geschwommen | ist | yüz         | -       | yüzüyor        | înoată   | înoate    | înota   | înotat   | -  | companion
    arrive | arrives | arrived | -  | kommt    | an  | ankommen  | angekommen  | ist | gel         | -       | geliyor        | sosește  | sosească  | sosi    | sosit    | -  | -
    wake   | wakes   | woke    | up | wacht    | auf | aufwachen | aufgewacht  | ist | uyan        | -       | uyanıyor       | trezește | trezească | trezi   | trezit   | se | -
    """,  # noqa: E501
)

# english | noun | german | noun | gender | turkish | stem | postposition | romanian
PLACES = read_table(
    Place,
    """
    in     | garden  | in     | Garten  | m | bahçe    | -    | -        | în grădină
    in     | kitchen | in     | Küche   | f | mutfak   | -    | -        | în bucătărie
    in     | park    | in     | Park    | m | park     | -    | -        | în parc
    in     | city    | in     | Stadt   | f | şehir    | -    | -        | în oraș
    in     | village | in     | Dorf    | n | köy      | -    | -        | în sat
    in     | forest  | in     | Wald    | m | orman    | -    | -        | în pădure
    in     | office  | in     | Büro    | n | ofis     | -    | -        | în birou
    on     | balcony | auf    | Balkon  | m | balkon   | -    | -        | pe balcon
    on     | roof    | auf    | Dach    | n | çatı     | -    | -        | pe acoperiș
    at     | station | an     | Bahnhof | m | istasyon | -    | -        | la gară
    at     | market  | auf    | Markt   | m | pazar    | -    | -        | la piață
    under  | tree    | unter  | Baum    | m | ağaç     | ağac | altında  | sub copac
    under  | bridge  | unter  | Brücke  | f | köprü    | -    | altında  | sub pod
    behind | house   | hinter | Haus    | n | ev       | -    | arkasında | în spatele casei
    """,
)

# english | german | turkish | romanian | tenses
TIMES = read_table(
    Time,
    """
    today         | heute         | bugün          | azi                   | present past future
    on Monday     | am Montag     | pazartesi günü | luni                  | present past future
    on Friday     | am Freitag    | cuma günü      | vineri                | present past future
    now           | jetzt         | şimdi          | acum                  | present
    every morning | jeden Morgen  | her sabah      | în fiecare dimineață  | present
    every evening | jeden Abend   | her akşam      | în fiecare seară      | present
    in summer     | im Sommer     | yazın          | vara                  | present future
    in winter     | im Winter     | kışın          | iarna                 | present future
    yesterday     | gestern       | dün            | ieri                  | past
    last week     | letzte Woche  | geçen hafta    | săptămâna trecută     | past
    tomorrow      | morgen        | yarın          | mâine                 | future
    next week     | nächste Woche | gelecek hafta  | săptămâna viitoare    | future
    """,
)

# english | german | romanian | subjunctive | asks
MODALS = read_table(
    Modal,
    """
    wants to | will | vrea    | să | -
    can      | kann | poate   | să | asks
    must     | muss | trebuie | să | -
    will     | wird | va      | -  | asks
    """,
)

NUMBERS = read_table(
    Number,
    """
    three | drei   | üç    | trei
    five  | fünf   | beş   | cinci
    seven | sieben | yedi  | șapte
    nine  | neun   | dokuz | nouă
    ten   | zehn   | on    | zece
    """,
)
